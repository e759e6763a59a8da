package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
)

// run runs an app for a moment and stops it.
func run(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
}

func drain(backend, lasts string) api.Override {
	return api.Override{Kind: "drain", Backend: backend, Reason: "a test", For: lasts}
}

// spoil writes nonsense where a node keeps its last known state.
func spoil(t *testing.T, path string) {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Put(t.Context(), "node/state", []byte("{"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// newDouble is a provider's API that takes everything and tells the tokens it was shown.
func newDouble(t *testing.T, tokens chan<- string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens <- r.Header.Get("Fastly-Key")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"status":"ok","id":"1","x":"1"}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
