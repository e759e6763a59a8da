package tap

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pointsman/steering"
	"pointsman/steering/geo"
)

// tables keeps, for each table that lines of the decision log name by its hash, a file with what
// it was compiled from. There are at most keep of them; those that were not used for the longest
// time make room. It belongs to one goroutine, but for the counters.
type tables struct {
	dir  string
	keep int
	log  *slog.Logger

	written, deleted, failed atomic.Uint64

	last      *steering.Table // the one that was last asked for
	saved     string          // the hash that was last saved
	retry     retry
	faults    rate.Sometimes
	located   *geo.Locator // whose name is countries
	countries *steering.CountryData
}

func newTables(dir string, keep int, log *slog.Logger) *tables {
	return &tables{dir: dir, keep: keep, log: log,
		faults: rate.Sometimes{First: 1, Interval: time.Minute}}
}

// save makes sure that a table's file is there.
func (t *tables) save(table *steering.Table) {
	if table == t.last {
		return
	}
	if table.Hash != t.saved {
		if !t.retry.due(time.Now()) {
			return
		}
		if err := t.write(table); err != nil {
			t.retry.failed(time.Now())
			t.failed.Add(1)
			t.faults.Do(func() {
				t.log.Warn("table of the decision log not saved", "table_version", table.Version,
					"hash", table.Hash, "err", err)
			})
			return
		}
		t.retry.worked()
		t.saved = table.Hash
	}
	t.last = table
}

func (t *tables) write(table *steering.Table) error {
	name := filepath.Join(t.dir, table.Hash+".json")
	now := time.Now()
	if err := os.Chtimes(name, now, now); err == nil {
		return nil // it is there; now it is the newest
	}
	in := table.Inputs()
	if in.Countries != t.located {
		t.located, t.countries = in.Countries, steering.Countries(in.Countries)
	}
	data, err := steering.EncodeInputs(in, t.countries)
	if err != nil {
		return err
	}
	if err := os.Mkdir(t.dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := t.makeRoom(); err != nil {
		return err
	}
	part := name + ".part"
	if err := os.WriteFile(part, data, 0o640); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	t.written.Add(1)
	return nil
}

// makeRoom deletes the oldest files until one more may come.
func (t *tables) makeRoom() error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	var files []os.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && strings.HasSuffix(info.Name(), ".json") {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, old := range files[:max(0, len(files)-t.keep+1)] {
		if err := os.Remove(filepath.Join(t.dir, old.Name())); err != nil {
			return err
		}
		t.deleted.Add(1)
	}
	return nil
}
