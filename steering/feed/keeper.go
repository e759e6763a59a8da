package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
	"pointsman/steering"
)

// Sentinels on which callers branch; errors wrap them.
var (
	// ErrUnknown says that the config has no such feed.
	ErrUnknown = errors.New("no such feed")
	// ErrPulled says that a feed isn't pushed.
	ErrPulled = errors.New("the feed is pulled")
	// ErrInvalid says that nothing of a document could be taken; the error says why.
	ErrInvalid = errors.New("document refused")
)

// Config is what a keeper needs.
type Config struct {
	// Local is this node's own store. Shared is the one that all nodes see; nil on a single node.
	Local, Shared store.Store
	Now           func() time.Time  // nil: time.Now
	Jitter        func() float64    // from 0 to 1, spreads pulls; nil: random
	Transport     http.RoundTripper // nil: one for each feed
	Logger        *slog.Logger      // nil: nothing is logged
	Registerer    prometheus.Registerer
	// OnChange is called with all that feeds say, whenever it was said or ended; never twice at a
	// time. The list is the callee's own.
	OnChange func([]steering.FedValue)
}

// Keeper holds what feeds say. All methods are safe for concurrent use.
type Keeper struct {
	cfg     Config
	metrics *metrics
	changed chan struct{} // holds a token when the feeds are others
	syncing sync.Mutex    // held over I/O with the shared store
	saving  sync.Mutex    // held over I/O with the local store

	mu      sync.Mutex // guards what follows; never held over I/O
	feeds   map[string]*Feed
	books   map[string]book // by feed; also of feeds that are no longer there
	states  map[string]*state
	told    []steering.FedValue
	toldAt  time.Time
	telling bool
	saved   map[string]string // records as Local has them
	failing map[string]bool   // stores that were away at the last try
}

// state is what is known of how a feed is heard. It isn't kept over restarts.
type state struct {
	tried, heard time.Time // zero: not since the start
	err          string    // of the last pull
	etag         string
	data         []byte // the last document, when it has an ETag
	complained   string // what was refused last, so that each state is logged once
}

// New returns a keeper that knows no feeds yet.
func New(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: c, changed: make(chan struct{}, 1), feeds: map[string]*Feed{},
		books: map[string]book{}, states: map[string]*state{}, saved: map[string]string{},
		failing: map[string]bool{}}
	k.metrics = newMetrics(c.Registerer, k)
	return k
}

// now is the time as records keep it.
func (k *Keeper) now() time.Time { return k.cfg.Now().UTC().Round(0) }

// SetFeeds puts other feeds in force. What those have said that were there before stays.
func (k *Keeper) SetFeeds(feeds []Feed) {
	k.mu.Lock()
	for name := range k.feeds {
		if !slices.ContainsFunc(feeds, func(f Feed) bool { return f.Name == name }) {
			k.metrics.forget(name)
			delete(k.states, name)
		}
	}
	k.feeds = make(map[string]*Feed, len(feeds))
	for i := range feeds {
		f := feeds[i]
		k.feeds[f.Name] = &f
		if k.states[f.Name] == nil {
			k.states[f.Name] = &state{}
		}
	}
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
	k.tell()
}

// Values are what all feeds say now, and what they said that has ended within a day.
func (k *Keeper) Values() []steering.FedValue {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.values(k.now())
}

// values is Values for a caller that holds k.mu.
func (k *Keeper) values(now time.Time) []steering.FedValue {
	var list []steering.FedValue
	for name, f := range k.feeds {
		list = append(list, values(f, k.books[name], now)...)
	}
	slices.SortFunc(list, func(a, b steering.FedValue) int {
		return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Feed, b.Feed))
	})
	return list
}

// Loads are the measured loads that feeds give now, by backend, each with when it was measured.
// The map is the caller's own.
func (k *Keeper) Loads() map[string]Load {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, out := k.now(), map[string]Load{}
	for name, f := range k.feeds {
		loads(f, k.books[name], now, out)
	}
	return out
}

// Outcome is what became of a document.
type Outcome struct {
	Taken   int // values
	Refused []Refusal
	// Local says that the shared store was away: other nodes get it later.
	Local bool
	// Unsaved says that no store took it: a restart before the next push forgets it.
	Unsaved bool
}

// Push takes a document for a feed that is pushed. The values are in force on this node when it
// returns (those that Hold delays, after that), durable in its store, and known to all as soon as
// the shared store is there. To push the same again changes nothing but ages. An error wraps
// ErrUnknown, ErrPulled or ErrInvalid.
func (k *Keeper) Push(ctx context.Context, name string, data []byte, actor string) (Outcome, error) {
	f, err := k.pushable(name)
	if err != nil {
		return Outcome{}, fmt.Errorf("pushing to feed %q: %w", name, err)
	}
	d, err := k.take(f, data)
	out := Outcome{Taken: len(d.said), Refused: d.refused}
	if err == nil && out.Taken == 0 && len(d.refused) > 0 {
		err = errors.Join(refusals(d.refused)...)
	}
	if err != nil {
		return out, fmt.Errorf("pushing to feed %q: %w: %w", name, ErrInvalid, err)
	}
	k.cfg.Logger.Debug("feed document pushed", "feed", name, "actor", actor)
	k.write(ctx, &out)
	return out, nil
}

// write brings what is in memory to both stores, for as long as a caller may wait.
func (k *Keeper) write(ctx context.Context, out *Outcome) {
	ctx = context.WithoutCancel(ctx)
	saved := k.save(ctx)
	out.Local = k.cfg.Shared != nil && !k.sync(ctx)
	out.Unsaved = !saved && (k.cfg.Shared == nil || out.Local)
}

func refusals(list []Refusal) []error {
	var errs []error
	for _, r := range list[:min(len(list), mostRefused)] {
		errs = append(errs, r)
	}
	return errs
}

// Changes reports whether a document would make a feed say something else of a backend's metadata
// than it did last. Loads don't count. The errors are those of Push.
func (k *Keeper) Changes(name string, data []byte) (bool, error) {
	f, err := k.pushable(name)
	if err != nil {
		return false, err
	}
	now := k.now()
	d, err := decode(f, data, now)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, s := range d.said {
		h, known := k.books[name][at]
		ended := !now.Before(h.until(f.Keep))
		if at.Field != FieldLoad && !s.older(h, now) &&
			(!known || ended || h.Withdrawn != s.withdrawn || !s.withdrawn && h.Latest != s.value) {
			return true, nil
		}
	}
	return false, nil
}

// pushable returns a feed that is pushed. The errors say what to do.
func (k *Keeper) pushable(name string) (*Feed, error) {
	f, err := k.known(name)
	if err == nil && f.pulled() {
		return nil, fmt.Errorf("%w from %s: leave url out of it to push it", ErrPulled, place(f.URL))
	}
	return f, err
}

func (k *Keeper) known(name string) (*Feed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.feeds[name]; f != nil {
		return f, nil
	}
	if len(k.feeds) == 0 {
		return nil, fmt.Errorf("%w: the config has none; add it under feeds", ErrUnknown)
	}
	return nil, fmt.Errorf("%w: the config has %s; add it under feeds", ErrUnknown,
		strings.Join(sorted(k.feeds), ", "))
}

// Clear forgets at once what a feed said, of one backend or (empty) of all: the config counts
// until the feed says something again, and one that is pulled soon will. It returns how many values
// went. An error wraps ErrUnknown.
func (k *Keeper) Clear(ctx context.Context, name, backend, actor string) (Outcome, error) {
	f, err := k.known(name)
	if err != nil {
		return Outcome{}, fmt.Errorf("clearing feed %q: %w", name, err)
	}
	now, out := k.now(), Outcome{}
	k.mu.Lock()
	for at, h := range k.books[f.Name] {
		if (backend == "" || at.Backend == backend) && !(h.None && h.Withdrawn) {
			h.None, h.Withdrawn, h.Since, h.At, h.Heard = true, true, now, now, now
			k.books[f.Name][at] = h
			out.Taken++
		}
	}
	k.state(f.Name).etag = ""
	k.mu.Unlock()
	k.tell()
	k.cfg.Logger.Info("feed cleared", "feed", name, "backend", backend, "actor", actor)
	k.write(ctx, &out)
	return out, nil
}

// take reads a document and brings it into force. The error says that nothing could be read.
func (k *Keeper) take(f *Feed, data []byte) (document, error) {
	now := k.now()
	d, err := decode(f, data, now)
	if err != nil {
		k.metrics.refused.WithLabelValues(f.Name, refusedDocument).Inc()
		return d, err
	}
	k.mu.Lock()
	b := k.books[f.Name]
	if b == nil {
		b = book{}
		k.books[f.Name] = b
	}
	for _, at := range slices.SortedFunc(maps.Keys(d.said), compareKeys) {
		s, h := d.said[at], b[at]
		if s.older(h, now) {
			d.refuse(at.path(), refusedOld, "was measured at %s, and %s is known already",
				s.at.Format(time.RFC3339), h.At.Format(time.RFC3339))
			delete(d.said, at)
			continue
		}
		b[at] = h.hear(f, at.Field, s, now)
	}
	if len(d.said) > 0 || len(d.refused) == 0 {
		k.state(f.Name).heard = now
	}
	complaint := k.complaint(f.Name, d.refused)
	k.mu.Unlock()
	for _, r := range d.refused {
		k.metrics.refused.WithLabelValues(f.Name, r.Reason).Inc()
	}
	if complaint {
		shown := refusals(d.refused)
		k.cfg.Logger.Warn("parts of a feed refused, the last good values stay", "feed", f.Name,
			"refused", len(d.refused), "err", errors.Join(shown...))
	}
	k.tell()
	return d, nil
}

// complaint reports whether a feed's refusals are others than those before. The caller holds k.mu.
func (k *Keeper) complaint(name string, list []Refusal) bool {
	text := ""
	for _, r := range list {
		text += r.Path + " " + r.Reason + "\n"
	}
	s := k.state(name)
	if s.complained == text {
		return false
	}
	s.complained = text
	return text != ""
}

// state returns what is known of a feed; of one that is gone, what nobody will see. The caller holds
// k.mu.
func (k *Keeper) state(name string) *state {
	if s := k.states[name]; s != nil {
		return s
	}
	return &state{}
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Field, b.Field),
		cmp.Compare(a.Host, b.Host))
}

// path is where a value stands in a document.
func (at key) path() string {
	if at.Host != "" {
		return "backends." + at.Backend + ".hosts." + at.Host + ".load"
	}
	return "backends." + at.Backend + "." + string(at.Field)
}

// tell calls OnChange if what holds, or its age, differs from what it saw last, and logs what came
// into force and what ended. If another goroutine is at it, that one looks again.
func (k *Keeper) tell() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.telling {
		return
	}
	k.telling = true
	defer func() { k.telling = false }()
	for {
		now := k.now()
		list := k.values(now)
		moved := movements(k.told, k.toldAt, list, now)
		if slices.Equal(list, k.told) && len(moved) == 0 {
			k.toldAt = now
			return
		}
		k.told, k.toldAt = list, now
		k.mu.Unlock()
		k.show(moved)
		if k.cfg.OnChange != nil {
			k.cfg.OnChange(slices.Clone(list))
		}
		k.mu.Lock()
	}
}

// movement is a value that came into force, or ended.
type movement struct {
	steering.FedValue
	ended, silent bool
}

// movements lists what changed in force between two moments.
func movements(
	before []steering.FedValue, then time.Time, after []steering.FedValue, now time.Time,
) []movement {
	type id struct {
		feed, backend string
		field         steering.Field
	}
	was, is := map[id]steering.FedValue{}, map[id]steering.FedValue{}
	for _, v := range before {
		if v.Active(then) {
			was[id{v.Feed, v.Backend, v.Field}] = v
		}
	}
	var list []movement
	for _, v := range after {
		if !v.Active(now) {
			continue
		}
		at := id{v.Feed, v.Backend, v.Field}
		is[at] = v
		if o, held := was[at]; !held || o.Value != v.Value {
			list = append(list, movement{FedValue: v})
		}
	}
	for _, v := range before {
		at := id{v.Feed, v.Backend, v.Field}
		if _, held := is[at]; !held && v.Active(then) {
			list = append(list, movement{FedValue: v, ended: true, silent: !v.Active(now)})
		}
	}
	return list
}

// show logs and counts movements.
func (k *Keeper) show(list []movement) {
	for _, m := range list {
		attrs := []any{"feed", m.Feed, "backend", m.Backend, "field", string(m.Field)}
		switch {
		case m.silent:
			k.metrics.ended.WithLabelValues(m.Feed).Inc()
			k.cfg.Logger.Warn("feed fell silent, the config counts again", attrs...)
		case m.ended:
			k.metrics.changes.WithLabelValues(m.Feed).Inc()
			k.cfg.Logger.Info("feed value withdrawn, the config counts again", attrs...)
		default:
			k.metrics.changes.WithLabelValues(m.Feed).Inc()
			k.cfg.Logger.Info("feed value came into force", append(attrs, "value", m.Text())...)
		}
	}
}
