package boltstore_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
	"pointsman/internal/store/storetest"
)

// open opens a store in a directory of the test and closes it at cleanup.
func open(t *testing.T, c boltstore.Config) *boltstore.Store {
	t.Helper()
	if c.Path == "" {
		c.Path = filepath.Join(t.TempDir(), "pointsman.db")
	}
	s, err := boltstore.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestTheFileKeepsTheContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, boltstore.Config{}) })
}
