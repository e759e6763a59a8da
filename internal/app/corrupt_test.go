package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestACorruptStoreKeepsNoNameUnanswered(t *testing.T) {
	s := newSite(t)
	n := s.start()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.state(), "pointsman.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 8 << 10; i < len(data); i++ {
		data[i] ^= 0x5a
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	if got := n.ask("cdn.example.test."); len(got) != 1 {
		t.Errorf("the steered name answers %v", got)
	}
	warnings := strings.Join(n.status().Warnings, "\n")
	_, aside, found := strings.Cut(warnings, "what it held is in ")
	if !found {
		t.Fatalf("the status warns of\n%s", warnings)
	}
	aside, _, _ = strings.Cut(aside, "\n")
	if kept, err := os.ReadFile(aside); err != nil || len(kept) != len(data) {
		t.Errorf("%d bytes are set aside, %v", len(kept), err)
	}
}
