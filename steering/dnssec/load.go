package dnssec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// errUnwritten says that the folder of keys takes no writes.
var errUnwritten = errors.New("keys and their state can't be written down")

// found is what a folder of keys holds.
type found struct {
	state State
	keys  map[uint16]*pair
	// saved is true when the file of the state holds just that.
	saved bool
	// broken says why the file can't be used, and that the state was made from the keys; else nil.
	broken error
}

// load reads the state and the keys that it names, and writes nothing. Keys without a state, such
// as those of another server, are adopted as keys in use since now; so are those beside a state
// that can't be read: each of them signs, which does no harm whatever the steps were.
func (f folder) load(now time.Time) (found, error) {
	keys, err := f.pairs()
	if err != nil {
		return found{}, err
	}
	path := filepath.Join(f.dir, stateFile)
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return found{state: adopt(keys, now), keys: keys}, f.halves(keys)
	case err != nil:
		return found{}, fmt.Errorf("reading the state of keys: %w", err)
	}
	var s State
	err = json.Unmarshal(raw, &s)
	if err == nil && len(s.Keys) == 0 {
		err = errors.New("it names no key")
	}
	switch lost := f.halves(keys); {
	case err != nil && lost != nil:
		return found{}, lost
	case err != nil && len(keys) == 0:
		return found{}, fmt.Errorf("reading the state of keys %s: %w; there is no key beside it: "+
			"restore the folder from a copy, or, if the parent has no DS records of the zone, remove "+
			"the file for new keys", path, err)
	case err != nil:
		return found{state: adopt(keys, now), keys: keys, broken: err}, nil
	}
	named, err := f.named(s, keys)
	return found{state: s, keys: named, saved: true}, err
}

// named returns those of the keys that a state names.
func (f folder) named(s State, keys map[uint16]*pair) (map[uint16]*pair, error) {
	named := make(map[uint16]*pair)
	for _, k := range s.Keys {
		if k.Phase == Wanted {
			continue
		}
		if keys[k.Tag] == nil {
			return nil, fmt.Errorf("key %d of %s is missing: %s needs a file that ends in "+
				"+%05d.private; restore it from a copy", k.Tag, f.zone, f.dir, k.Tag)
		}
		named[k.Tag] = keys[k.Tag]
	}
	return named, nil
}

// halves refuses a folder that has public halves of keys alone: they were in use once, and keys
// made in their place would not be those that the parent names.
func (f folder) halves(keys map[uint16]*pair) error {
	if len(keys) > 0 {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(escapeGlob(f.dir), "K*.key"))
	if err != nil {
		return fmt.Errorf("listing keys: %w", err)
	}
	if len(files) > 0 {
		return fmt.Errorf("key %s has no private half: restore its .private file from a copy, or, "+
			"if the parent has no DS record for it, remove it for new keys", files[0])
	}
	return nil
}

// setAside keeps a state that can't be read for people, out of the next one's way. If it can't,
// the next one replaces it as soon as the disk takes writes.
func (f folder) setAside(now time.Time, why error, log *slog.Logger) {
	path := filepath.Join(f.dir, stateFile)
	aside := path + ".bad-" + now.UTC().Format("20060102T150405.000Z")
	if err := os.Rename(path, aside); err != nil {
		log.Error("corrupt state of keys not set aside, all keys in the folder sign", "path", path,
			"err", errors.Join(why, err))
		return
	}
	log.Error("corrupt state of keys set aside, all keys in the folder sign", "path", path,
		"aside", aside, "err", why)
}

// names reports whether the file of the state holds a state.
func (f folder) names(s State) bool {
	raw, err := os.ReadFile(filepath.Join(f.dir, stateFile))
	var held State
	return err == nil && json.Unmarshal(raw, &held) == nil &&
		slices.EqualFunc(held.Keys, s.Keys, func(a, b Key) bool {
			return a.Tag == b.Tag && a.Role == b.Role && a.Phase == b.Phase && a.Since.Equal(b.Since)
		})
}

// undo removes what there is of a key that could not be kept.
func (f folder) undo(p *pair) error {
	var errs []error
	for _, end := range []string{".private", ".key"} {
		if err := os.Remove(f.base(p) + end); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Check looks at a zone's keys as New would, and makes and writes nothing. A zone that has no
// folder yet is fine. The warning, which may be empty, is of what New would mend.
func Check(cfg Config) (warning string, err error) {
	if cfg.Policy, err = cfg.Policy.complete(); err != nil {
		return "", fmt.Errorf("signing zone %s: %w", cfg.Zone, err)
	}
	s := &Signer{cfg: cfg, folder: folderOf(cfg.Folder, cfg.Zone)}
	if _, err := os.Stat(s.folder.dir); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("looking at the folder of keys: %w", err)
	}
	found, err := s.folder.load(time.Now())
	if err != nil {
		return "", err
	}
	s.state, s.keys = found.state, found.keys
	if err := s.fits(); err != nil {
		return "", err
	}
	if found.broken != nil {
		warning = fmt.Sprintf("%s can't be read (%v): a start sets it aside, and every key in the "+
			"folder signs", filepath.Join(s.folder.dir, stateFile), found.broken)
	}
	return warning, nil
}

// saved writes the state if its file doesn't hold it.
func (s *Signer) saved() error {
	if !s.unsaved {
		return nil
	}
	err := s.folder.save(s.state)
	s.unsaved = err != nil
	if err != nil {
		s.cfg.Metrics.failed(s.cfg.Zone)
	}
	return err
}

// discard removes keys that were made for a step that was not taken.
func (s *Signer) discard(keys map[uint16]*pair) {
	for tag, p := range keys {
		if s.keys[tag] != nil {
			continue
		}
		if err := s.folder.undo(p); err != nil {
			s.log.Error("unused key not removed", "key_tag", tag, "err", err)
		}
	}
}

// failing bounds what is said of writes that fail.
type failing struct{ said time.Time }

// tell logs that writes fail: at first, then each hour; and that they don't any more.
func (f *failing) tell(err error, now time.Time, log *slog.Logger) {
	if err == nil {
		if !f.said.IsZero() {
			log.Info("keys can be written again")
		}
		f.said = time.Time{}
		return
	}
	if !f.said.IsZero() && now.Sub(f.said) < time.Hour {
		return
	}
	f.said = now
	log.Error("keys not written, those that were read sign on", "err", err)
}
