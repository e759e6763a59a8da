package replay

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"pointsman/steering"
	"pointsman/steering/geo"
)

// ErrTable says that a line's table could not be made again.
var ErrTable = errors.New("no such table")

// defaultKeep is how many tables stay in memory. One of 1,000 hosts takes some MiB.
const defaultKeep = 64

// TablesConfig says where tables come from.
type TablesConfig struct {
	// Load returns the file of a table, by its hash, which is 64 digits in hex.
	Load func(hash string) ([]byte, error)
	// Countries returns the country data, for tables that were compiled with some. It is asked
	// once; nil: there is none.
	Countries func() (*geo.Locator, error)
	// Keep is how many tables stay in memory, those that were used last; 0: 64.
	Keep int
}

// Tables makes tables again from the inputs that were written down beside a decision log. It may
// be used by any number of goroutines; each table is made by the first one that wants it.
type Tables struct {
	cfg       TablesConfig
	countries func() (*geo.Locator, error)
	latest    atomic.Pointer[steering.Table] // whose work on places the next one takes over

	mu    sync.Mutex // guards the rest
	kept  map[string]*entry
	clock uint64
	made  int
}

// entry is a table, or why there is none.
type entry struct {
	once  sync.Once
	used  uint64 // guarded by Tables.mu
	table *steering.Table
	err   error
}

// NewTables returns Tables that hold none yet.
func NewTables(cfg TablesConfig) *Tables {
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.Countries == nil {
		cfg.Countries = func() (*geo.Locator, error) { return nil, nil }
	}
	return &Tables{cfg: cfg, countries: sync.OnceValues(cfg.Countries),
		kept: make(map[string]*entry)}
}

// Table returns the table of a hash. The error, an ErrTable, says why there is none: its file is
// gone, wants other country data, or compiles to something else.
func (t *Tables) Table(hash string) (*steering.Table, error) {
	t.mu.Lock()
	t.clock++
	e := t.kept[hash]
	if e == nil {
		e = &entry{}
		t.kept[hash] = e
		t.made++
		t.forget(hash)
	}
	e.used = t.clock
	t.mu.Unlock()
	e.once.Do(func() {
		if e.table, e.err = t.make(hash); e.err != nil {
			e.err = fmt.Errorf("%w %s: %w", ErrTable, hash, e.err)
		}
	})
	return e.table, e.err
}

// Made counts the tables that were made again, those that were made twice included.
func (t *Tables) Made() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.made
}

// forget drops the table that was not used for the longest time when there are too many.
func (t *Tables) forget(but string) {
	if len(t.kept) <= t.cfg.Keep {
		return
	}
	oldest := ""
	for hash, e := range t.kept {
		if hash != but && (oldest == "" || e.used < t.kept[oldest].used) {
			oldest = hash
		}
	}
	delete(t.kept, oldest)
}

func (t *Tables) make(hash string) (*steering.Table, error) {
	data, err := t.cfg.Load(hash)
	if err != nil {
		return nil, err
	}
	in, wants := steering.DecodeInputs(data, nil)
	if errors.Is(wants, steering.ErrCountries) {
		countries, err := t.countries()
		if err != nil {
			return nil, err
		}
		// With other data than the table's it may be the same one: when no place goes by it.
		in, wants = steering.DecodeInputs(data, countries)
	}
	if wants != nil && !errors.Is(wants, steering.ErrCountries) {
		return nil, wants
	}
	in.Prior = t.latest.Load()
	table, err := steering.Compile(in)
	switch {
	case err != nil:
		return nil, err
	case table.Hash == hash:
		t.latest.Store(table)
		return table, nil
	case wants != nil:
		return nil, wants
	}
	return nil, fmt.Errorf("its file compiles to %s", table.Hash)
}
