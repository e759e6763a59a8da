package purge_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"pointsman/purge"
)

func TestAnIdempotencyKeyReturnsTheFirstPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		n := start(t, purge.Config{}, c)
		req := urls("a", "b")
		req.IdempotencyKey = "deploy-7"
		first := submit(t, n.Service, req)
		wait(t, n.Service, first.ID)
		req.Items = []string{req.Items[1], req.Items[0]} // the order is no difference
		req.Actor = "someone else"
		if again := submit(t, n.Service, req); again.ID != first.ID || !again.Final() {
			t.Errorf("again: %+v", again)
		}
		if c.callCount() != 1 {
			t.Errorf("%d calls", c.callCount())
		}
		req.Soft = true
		_, err := n.Submit(t.Context(), req)
		if !errors.Is(err, purge.ErrIdempotencyMismatch) || !strings.Contains(err.Error(), first.ID) {
			t.Errorf("another request: %v", err)
		}
		// Also after a restart, and after a crash between the key and the purge.
		n.stop()
		n2 := start(t, purge.Config{Local: n.local}, c)
		req.Soft = false
		if again := submit(t, n2.Service, req); again.ID != first.ID {
			t.Errorf("after a restart: %+v", again)
		}
		if err := n.local.Delete(t.Context(), "purge/done/"+first.ID, nil); err != nil {
			t.Fatal(err)
		}
		if again := submit(t, n2.Service, req); again.ID != first.ID || again.Final() {
			t.Errorf("with the key alone: %+v", again)
		}
		wait(t, n2.Service, first.ID)
		if c.callCount() != 2 {
			t.Errorf("%d calls", c.callCount())
		}
	})
}

func TestManyCallersWithOneKeyMakeOnePurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		n := start(t, purge.Config{}, c)
		req := tags("a")
		req.IdempotencyKey = "k"
		ids := make(chan string, 50)
		for range cap(ids) {
			go func() {
				st, err := n.Submit(t.Context(), req)
				if err != nil {
					t.Error(err)
				}
				ids <- st.ID
			}()
		}
		first := <-ids
		for range cap(ids) - 1 {
			if id := <-ids; id != first {
				t.Errorf("%s and %s", first, id)
			}
		}
		wait(t, n.Service, first)
		if c.callCount() != 1 {
			t.Errorf("%d calls", c.callCount())
		}
	})
}
