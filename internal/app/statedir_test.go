package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/app"
)

// TestCheckRefusesAStateFolderAsAStartDoes: both look at the same folder.
func TestCheckRefusesAStateFolderAsAStartDoes(t *testing.T) {
	for name, c := range map[string]struct {
		make          func(t *testing.T, state string)
		below         string
		mistake, warn string
	}{
		"of everybody": {make: func(t *testing.T, state string) {
			if err := errors.Join(os.Mkdir(state, 0o700), os.Chmod(state, 0o777)); err != nil {
				t.Fatal(err)
			}
		}, mistake: "writable by everybody (mode 0777)"},
		"a file":       {make: writeFile, mistake: "is not a directory"},
		"below a file": {make: writeFile, below: "/x", mistake: "not a directory"},
		"deep below a file": {make: writeFile, below: "/x/y",
			mistake: "not a directory"},
		"not there yet": {},
		"two levels that are not there": {below: "/x",
			warn: "exists: a start makes both"},
		"of our own": {make: func(t *testing.T, state string) {
			if err := os.Mkdir(state, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.write(s.with(`/state"`, "/state"+c.below+`"`))
			if c.make != nil {
				c.make(t, s.state())
			}
			before, err := os.ReadDir(s.dir)
			if err != nil {
				t.Fatal(err)
			}
			got, err := app.Check(s.options())
			if after, _ := os.ReadDir(s.dir); len(after) != len(before) {
				t.Errorf("it left %v", after)
			}
			var warned []string
			for _, w := range got.Warnings {
				if w.Path == "state_dir" {
					warned = append(warned, w.Message)
				}
			}
			all := strings.Join(warned, "\n")
			if (all != "") != (c.warn != "") || !strings.Contains(all, c.warn) {
				t.Errorf("it warns of %q, want %q", all, c.warn)
			}
			if c.mistake == "" {
				if err != nil {
					t.Error(err)
				}
				s.start()
				return
			}
			if !errors.Is(err, app.ErrConfig) ||
				!strings.Contains(err.Error(), "node.yaml:3:12: state_dir: ") ||
				!strings.Contains(err.Error(), c.mistake) {
				t.Errorf("it says %v, want %q", err, c.mistake)
			}
			if _, err := app.New(t.Context(), s.options()); err == nil {
				t.Error("and the node starts all the same")
			}
		})
	}
}

func writeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
