package app_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
)

// unwritable makes a node open its store on a disk that takes no writes.
func unwritable(why error) func(*app.Options) {
	return func(o *app.Options) {
		app.OpenWith(o, func(name string, flag int, perm fs.FileMode) (*os.File, error) {
			if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 {
				return nil, &fs.PathError{Op: "open", Path: name, Err: why}
			}
			return os.OpenFile(name, flag, perm)
		})
	}
}

// standsAlone checks what a node must still do when its disk takes no writes.
func (s *site) standsAlone(n *node, why error) {
	t := s.t
	t.Helper()
	if got := n.ask("cdn.example.test."); len(got) != 1 {
		t.Errorf("the steered name answers %v", got)
	}
	eventually(t, "readiness", func() bool { return n.status().Ready })
	o, err := n.admin.AddOverride(t.Context(), drain("one", "1h"))
	if err != nil || !o.Unsaved {
		t.Errorf("the drain is %+v, %v", o, err)
	}
	eventually(t, "the drain", func() bool { return n.target("one") == 0 })
	_, err = n.admin.Purge(t.Context(), api.Purge{Kind: "tag", Items: []string{"x"}}, "")
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != 503 || !strings.Contains(p.Detail, why.Error()) {
		t.Errorf("a purge gives %v", err)
	}
	warnings := strings.Join(n.status().Warnings, "\n")
	for _, want := range []string{"the store in state_dir takes no writes", why.Error()} {
		if !strings.Contains(warnings, want) {
			t.Errorf("the status warns of\n%s\nwant %q", warnings, want)
		}
	}
	if got := strings.Count(s.log.String(), "msg=\"store ca"); got != 1 {
		t.Errorf("%d lines tell of the store", got)
	}
	if got := n.gauge("pointsman_app_local_store_writable_state"); got != "0" {
		t.Errorf("the gauge is %q", got)
	}
}

// gauge is the value of a metric without labels.
func (n *node) gauge(name string) string {
	n.t.Helper()
	res, err := n.client.Get("http://" + n.Addrs().Admin.String() + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "none"
}

// TestADiskThatTakesNoWritesKeepsNoNodeDown: neither does it forget who is down.
func TestADiskThatTakesNoWritesKeepsNoNodeDown(t *testing.T) {
	s := newSite(t)
	s.two.breakIt(true)
	n := s.start()
	eventually(t, "the fall of two", func() bool { return n.target("two") == 0 })
	if got := n.gauge("pointsman_app_local_store_writable_state"); got != "1" {
		t.Errorf("the gauge is %q", got)
	}
	before := n.status().TableVersion
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	s.write(s.with("vantage: here", "vantage: here\nroles: [dns, admin]")) // nothing is measured
	s.log = &buffer{}
	n = s.start(unwritable(syscall.EROFS))
	for range 20 {
		if got := n.ask("cdn.example.test."); len(got) != 1 || got[0] != "192.0.2.1" {
			t.Fatalf("with two down it answers %v", got)
		}
	}
	if now := n.status().TableVersion; now <= before {
		t.Errorf("the table is version %d after %d", now, before)
	}
	s.standsAlone(n, syscall.EROFS)
}

func TestADiskThatTakesNoWritesAndHoldsNothingKeepsNoNodeDown(t *testing.T) {
	s := newSite(t)
	s.write(s.with("vantage: here", "vantage: here\nroles: [dns, admin]"))
	s.standsAlone(s.start(unwritable(syscall.ENOSPC)), syscall.ENOSPC)
}
