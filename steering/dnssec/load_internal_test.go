package dnssec

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// jam lets writes of a state fail, as a full disk does, until the returned function is called.
func jam(t *testing.T, dir string) (free func()) {
	t.Helper()
	at := filepath.Join(dir, "example.test", stateFile+".new")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
	}
}

// files lists what a zone's folder of keys holds.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "example.test", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestKeysThatWereReadSignWhereNothingCanBeWritten(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var log bytes.Buffer
	cfg := Config{Zone: "example.test.", Folder: t.TempDir(), Now: func() time.Time { return now },
		Policy: Policy{Split: true, ZoneKeyLifetime: 10 * 24 * time.Hour},
		Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if _, err := New(cfg); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Folder, "example.test", stateFile)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	free := jam(t, cfg.Folder)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the state was written though nothing had changed: %v", err)
	}
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("nothing was to write, and this was logged:\n%s", &log)
	}
	now = now.Add(11 * 24 * time.Hour) // a new ZSK is due
	for range 5 {
		if changed, err := s.Advance(context.Background()); changed || err != nil {
			t.Errorf("a step that isn't written down: %t, %v", changed, err)
		}
		now = now.Add(time.Minute)
	}
	if _, err := s.Sign(context.Background(), smallZone(t)); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors were logged:\n%s", n, &log)
	}
	if got := files(t, cfg.Folder, "*.private"); len(got) != 2 {
		t.Errorf("keys that nobody uses are left: %v", got)
	}
	free()
	if changed, err := s.Advance(context.Background()); !changed || err != nil {
		t.Errorf("with room again: %t, %v", changed, err)
	}
}

func TestKeysWithoutAStateSignBeforeItCanBeWritten(t *testing.T) {
	var log bytes.Buffer
	cfg := Config{Zone: "example.test.", Folder: t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := s.State().Keys[0].Tag
	path := filepath.Join(cfg.Folder, "example.test", stateFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	free := jam(t, cfg.Folder)
	if s, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if got := s.State().Keys; len(got) != 1 || got[0].Tag != want {
		t.Errorf("keys %+v, want %d alone", got, want)
	}
	free()
	if _, err := s.Advance(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestACorruptStateIsSetAsideAndMadeFromTheKeys(t *testing.T) {
	for about, content := range map[string]string{"empty": "", "cut": `{"keys": [`, "no key": "{}"} {
		t.Run(about, func(t *testing.T) {
			var log bytes.Buffer
			cfg := Config{Zone: "example.test.", Folder: t.TempDir(),
				Logger: slog.New(slog.NewTextHandler(&log, nil))}
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := s.State().Keys[0].Tag
			path := filepath.Join(cfg.Folder, "example.test", stateFile)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if warning, err := Check(cfg); err != nil || !strings.Contains(warning, path) {
				t.Errorf("the check says %q, %v", warning, err)
			}
			if got := files(t, cfg.Folder, "*.bad-*"); len(got) != 0 {
				t.Errorf("the check has made %v", got)
			}
			if s, err = New(cfg); err != nil {
				t.Fatal(err)
			}
			if got := s.State().Keys; len(got) != 1 || got[0].Tag != want || got[0].Phase != Active {
				t.Errorf("keys %+v, want %d alone", got, want)
			}
			aside := files(t, cfg.Folder, "state.json.bad-*")
			if len(aside) != 1 || !strings.Contains(log.String(), aside[0]) {
				t.Errorf("set aside %v, logged\n%s", aside, &log)
			}
			if warning, err := Check(cfg); err != nil || warning != "" {
				t.Errorf("then the check says %q, %v", warning, err)
			}
		})
	}
}
