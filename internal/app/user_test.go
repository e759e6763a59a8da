package app_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pointsman/internal/app"
)

// TestACheckTellsWhatBecomesOfRoot asks for a config with and without a user, as root and not.
func TestACheckTellsWhatBecomesOfRoot(t *testing.T) {
	for _, c := range []struct {
		keys, note, refused string
		root                bool
	}{
		{root: true, note: "the node stays root"},
		{root: false},
		{root: true, keys: "user: nobody\n"},
		{root: false, keys: "user: nobody\n"},
		{root: true, keys: "user: nobody-of-that-name\n", refused: "4:7: user: there is no user"},
		{root: false, keys: "user: nobody-of-that-name\n"},
		{root: true, keys: "user: root\n", refused: "4:7: user: user \"root\" is root itself"},
		{root: true, keys: "group: nogroup\n", refused: "4:8: group: belongs to user"},
	} {
		text := fmt.Sprintf("node: n\nroles: [admin]\nstate_dir: %s\n%s", t.TempDir(), c.keys)
		found, err := app.Check(app.Options{Data: []byte(text), Name: "n.yaml", Root: c.root})
		notes := ""
		for _, n := range found.Notes {
			notes += n.String()
		}
		if !strings.Contains(notes, c.note) || (notes != "") != (c.note != "") {
			t.Errorf("%q, root %v: noted %q, want %q", c.keys, c.root, notes, c.note)
		}
		if c.refused == "" && err != nil {
			t.Errorf("%q, root %v: %v", c.keys, c.root, err)
		}
		if c.refused != "" && (!errors.Is(err, app.ErrConfig) ||
			!strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%q, root %v: %v, want %q", c.keys, c.root, err, c.refused)
		}
	}
}
