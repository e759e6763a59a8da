package geo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Aged is the age at which country data is worth a warning: enough networks have moved by then
// to be noticed.
const Aged = 180 * 24 * time.Hour

const (
	// watchEvery is how often the file is looked at: one call of the system. A changed file is
	// read when it looks the same twice, because some are written in place, piece by piece.
	watchEvery = 5 * time.Second
	// remindEvery is how often aged data is warned of.
	remindEvery = 24 * time.Hour
)

// Data is country data and the file that it came from, if any.
type Data struct {
	// Locator is nil when no data is wanted.
	Locator *Locator
	path    string
	stamp   stamp // of the file as it was read; zero when something stands in for it
}

// Load reads the file at path, or the built-in data when path is empty.
func Load(path string) (Data, error) {
	if path == "" {
		l, err := Builtin()
		return Data{Locator: l}, err
	}
	d := Data{path: path, stamp: stampOf(path)} // taken first: a later change is seen later
	var err error
	d.Locator, err = Open(path)
	return d, err
}

// StandIn is the built-in data in place of a file that can't be read now. A Source that uses
// it takes the file as soon as it can be read.
func StandIn(path string) (Data, error) {
	l, err := Builtin()
	return Data{Locator: l, path: path}, err
}

// Current reports whether loading from the same place again would give the same data.
func (d Data) Current() bool {
	return d.path == "" || d.stamp != stamp{} && d.stamp == stampOf(d.path)
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	modified time.Time
	size     int64
}

// stampOf returns the zero stamp when there is no file.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{modified: info.ModTime(), size: info.Size()}
}

// SourceConfig is what a Source needs; every field may be zero.
type SourceConfig struct {
	Now        func() time.Time      // nil: time.Now
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: nothing is registered
	// OnChange gets each Locator that Run has read from a changed file, never nil.
	OnChange func(*Locator)
}

// Source keeps the country data in force and follows its file. A file that is gone or can't be
// read changes nothing: the last good data serves on. Its methods are safe for concurrent use.
type Source struct {
	config  SourceConfig
	log     *slog.Logger
	metrics *metrics

	mu         sync.Mutex // guards what follows; held over no reading
	data       Data
	generation int       // of data: rises with each Use
	seen       stamp     // of the file at the last look
	tried      stamp     // of the file when it was last read in vain
	failed     string    // why the file could not be read; empty when it could
	warned     time.Time // when aged data was last warned of
}

// NewSource returns a source without data.
func NewSource(c SourceConfig) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{config: c, log: c.Logger}
	s.metrics = newMetrics(c.Registerer, s.date, c.Now)
	return s
}

// Use puts data in force in place of what was there. It doesn't call OnChange.
func (s *Source) Use(d Data) {
	s.mu.Lock()
	s.data, s.seen, s.tried, s.failed, s.warned = d, d.stamp, stamp{}, "", time.Time{}
	s.generation++
	s.mu.Unlock()
	s.remind()
}

// Data returns the data in force.
func (s *Source) Data() Data {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// date is the day of the data in force, zero when there is none.
func (s *Source) date() time.Time { return s.Data().Locator.Date() }

// Run follows the file until ctx ends; then it returns nil. Call it once.
func (s *Source) Run(ctx context.Context) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			s.look()
			s.remind()
		}
	}
}

// look reads the file if it has changed and come to rest.
func (s *Source) look() {
	s.mu.Lock()
	d, generation, seen, tried := s.data, s.generation, s.seen, s.tried
	s.mu.Unlock()
	if d.path == "" {
		return
	}
	now := stampOf(d.path)
	s.mu.Lock()
	s.seen = now
	s.mu.Unlock()
	switch {
	case now == stamp{}:
		s.fail(fmt.Errorf("file %s is gone", d.path))
	case now == d.stamp || now == tried || now != seen:
	default:
		fresh, err := Load(d.path)
		if err != nil {
			s.mu.Lock()
			s.tried = now
			s.mu.Unlock()
			s.fail(err)
			return
		}
		s.take(fresh, generation)
	}
}

// take puts data that was read in force, unless Use was called meanwhile.
func (s *Source) take(d Data, generation int) {
	s.mu.Lock()
	stale := generation != s.generation
	if !stale {
		s.data, s.failed, s.warned = d, "", time.Time{}
	}
	s.mu.Unlock()
	if stale {
		return
	}
	s.metrics.reads.WithLabelValues("taken").Inc()
	s.log.Info("country data read", "source", d.Locator.Origin(), "date", d.Locator.Date())
	if s.config.OnChange != nil {
		s.config.OnChange(d.Locator)
	}
}

// fail counts and logs why the file can't be read, once for each reason.
func (s *Source) fail(err error) {
	s.mu.Lock()
	known := s.failed == err.Error()
	s.failed = err.Error()
	s.mu.Unlock()
	if known {
		return
	}
	s.metrics.reads.WithLabelValues("refused").Inc()
	s.log.Warn("country data not read, the last good one serves on", "err", err)
}

// remind warns of aged data, once a day.
func (s *Source) remind() {
	now := s.config.Now()
	s.mu.Lock()
	l := s.data.Locator
	due := l != nil && now.Sub(l.date) > Aged && now.Sub(s.warned) >= remindEvery
	if due {
		s.warned = now
	}
	s.mu.Unlock()
	if due {
		s.log.Warn("country data aged", "source", l.origin, "date", l.date,
			"days", int(now.Sub(l.date).Hours()/24))
	}
}
