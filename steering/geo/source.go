package geo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
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

// Wants says where the data comes from and what it is needed for.
type Wants struct {
	// Files are tried in this order: each fact is from the first that has any of it.
	Files []string
	// Country and ASN want the built-in data where no file has the fact.
	Country, ASN bool
}

// Data is geo data and the files that it came from, if any.
type Data struct {
	// Locator is nil when no data is wanted.
	Locator *Locator
	wants   Wants
	parts   []part // of the files
}

// part is what one file says.
type part struct {
	stamp   stamp    // of the file as it was read; zero when it couldn't be
	locator *Locator // empty when it couldn't be read
}

// Load reads what is wanted. The error holds every file that can't be read; there is no data then.
func Load(w Wants) (Data, error) {
	d, err := StandIn(w)
	if err != nil {
		return Data{}, err
	}
	return d, nil
}

// StandIn is Load for data that is needed though files can't be read: the built-in data and the
// other files stand in for them, and a Source that uses it takes them as soon as they can be read.
// The error says why, and there is data all the same unless the built-in data is damaged.
func StandIn(w Wants) (Data, error) {
	d := Data{wants: w}
	var errs []error
	for _, path := range w.Files {
		p := part{stamp: stampOf(path)} // taken first: a later change is seen later
		var err error
		if p.locator, err = Open(path); err != nil {
			errs = append(errs, err)
			p = part{locator: newLocator()}
		}
		d.parts = append(d.parts, p)
	}
	return d, errors.Join(errors.Join(errs...), d.join())
}

// join makes the Locator of the parts and the built-in data.
func (d *Data) join() error {
	var all []*Locator
	country, asn := !d.wants.Country, !d.wants.ASN
	for _, p := range d.parts {
		all = append(all, p.locator)
		country, asn = country || p.locator.country.known(), asn || p.locator.asn.known()
	}
	if !country {
		l, err := Builtin()
		if err != nil {
			return err
		}
		all = append(all, l)
	}
	if !asn {
		l, err := BuiltinASN()
		if err != nil {
			return err
		}
		all = append(all, l)
	}
	d.Locator = nil
	switch len(all) {
	case 0:
	case 1:
		d.Locator = all[0]
	default:
		d.Locator = overlay(all)
	}
	return nil
}

// Current reports whether loading the same again would give the same data.
func (d Data) Current(w Wants) bool {
	if w.Country != d.wants.Country || w.ASN != d.wants.ASN ||
		!slices.Equal(w.Files, d.wants.Files) {
		return false
	}
	for i, path := range w.Files {
		if p := d.parts[i]; p.stamp == (stamp{}) || p.stamp != stampOf(path) {
			return false
		}
	}
	return true
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

// Source keeps the geo data in force and follows its files. A file that is gone, can't be read or
// says that it is older changes nothing: the last good data serves on. Its methods are safe for concurrent use.
type Source struct {
	config  SourceConfig
	log     *slog.Logger
	metrics *metrics

	mu         sync.Mutex // guards what follows; held over no reading
	data       Data
	generation int       // of data: rises with each Use
	files      []watch   // one for each file of data
	warned     time.Time // when aged data was last warned of
}

// watch is what a Source knows of a file that it follows.
type watch struct {
	seen   stamp  // at the last look
	tried  stamp  // when it was last read in vain
	failed string // why it could not be read; empty when it could
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
	s.data, s.warned = d, time.Time{}
	s.files = make([]watch, len(d.parts))
	for i, p := range d.parts {
		s.files[i].seen = p.stamp
	}
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

// Run follows the files until ctx ends; then it returns nil. Call it once.
func (s *Source) Run(ctx context.Context) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			for i := range s.Data().parts {
				s.look(i)
			}
			s.remind()
		}
	}
}

// look reads a file if it has changed and come to rest.
func (s *Source) look(i int) {
	s.mu.Lock()
	if i >= len(s.files) {
		s.mu.Unlock()
		return // other data was put in force
	}
	d, generation, w := s.data, s.generation, s.files[i]
	path := d.wants.Files[i]
	now := stampOf(path)
	s.files[i].seen = now
	s.mu.Unlock()
	switch {
	case now == stamp{}:
		s.fail(i, generation, now, fmt.Errorf("file %s is gone", path))
	case now == d.parts[i].stamp || now == w.tried || now != w.seen:
	default:
		l, err := Open(path)
		if err == nil {
			err = older(d.parts[i].locator, l, path)
		}
		if err != nil {
			s.fail(i, generation, now, err)
			return
		}
		s.take(i, generation, part{now, l})
	}
}

// older says why data of a file is not to take the place of what was read from there before.
// A Data that is loaded afresh may hold it.
func older(before, l *Locator, path string) error {
	was, is := before.Date(), l.Date()
	if !is.Before(was) || !before.dated || !l.dated {
		return nil
	}
	return fmt.Errorf("file %s is of %s, older than what is in force from there, of %s: "+
		"reload the configuration to go back to it", path, is.Format(time.DateOnly),
		was.Format(time.DateOnly))
}

// take puts what a file says in force, unless Use was called meanwhile.
func (s *Source) take(i, generation int, p part) {
	d := s.Data() // Run alone changes its parts, but for Use
	if i >= len(d.parts) {
		return
	}
	d.parts = slices.Clone(d.parts)
	d.parts[i] = p
	if err := d.join(); err != nil {
		s.fail(i, generation, p.stamp, err)
		return
	}
	s.mu.Lock()
	stale := generation != s.generation
	if !stale {
		s.data, s.files[i].failed, s.warned = d, "", time.Time{}
	}
	s.mu.Unlock()
	if stale {
		return
	}
	s.metrics.reads.WithLabelValues("taken").Inc()
	s.log.Info("geo data read", "source", p.locator.Origin(), "date", p.locator.Date())
	if s.config.OnChange != nil {
		s.config.OnChange(d.Locator)
	}
}

// fail counts and logs why a file can't be read, once for each reason.
func (s *Source) fail(i, generation int, at stamp, err error) {
	s.mu.Lock()
	if generation != s.generation {
		s.mu.Unlock()
		return
	}
	w := &s.files[i]
	known := w.failed == err.Error()
	w.failed, w.tried = err.Error(), at
	s.mu.Unlock()
	if known {
		return
	}
	s.metrics.reads.WithLabelValues("refused").Inc()
	s.log.Warn("geo data not read, the last good one serves on", "err", err)
}

// remind warns of aged data, once a day.
func (s *Source) remind() {
	now := s.config.Now()
	s.mu.Lock()
	l := s.data.Locator
	due := l != nil && now.Sub(l.Date()) > Aged && now.Sub(s.warned) >= remindEvery
	if due {
		s.warned = now
	}
	s.mu.Unlock()
	if due {
		s.log.Warn("geo data aged", "source", l.Origin(), "date", l.Date(),
			"days", int(now.Sub(l.Date()).Hours()/24))
	}
}
