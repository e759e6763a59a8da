package storetest

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/store"
)

var keyTests = map[string]func(*testing.T, store.Store){
	"a key never written is not found": func(t *testing.T, s store.Store) {
		_, err := s.Get(t.Context(), "a")
		wantError(t, "Get", err, store.ErrNotFound)
	},
	"what is put is what is got": func(t *testing.T, s store.Store) {
		big := bytes.Repeat([]byte{0, 1, 0xff, '\n'}, store.MaxValueBytes/4)
		for key, value := range map[string][]byte{
			"text": []byte("v"), "empty": {}, "binary": {0, 0xff, '\n', '\r', 0}, "big": big,
			"with space and {braces}*?[x]~": []byte("v"), strings.Repeat("k", 512): []byte("v"),
		} {
			revision := mustPut(t, s, key, string(value), store.PutOptions{})
			got := mustGet(t, s, key)
			if !bytes.Equal(got.Value, value) || got.Key != key || got.Revision != revision {
				t.Errorf("Get(%.20q) = %.20q at %d, want revision %d", key, got.Value,
					got.Revision, revision)
			}
		}
	},
	"the store keeps no hold on the caller's bytes": func(t *testing.T, s store.Store) {
		value := []byte("one")
		if _, err := s.Put(t.Context(), "a", value, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		value[0] = 'X'
		got := mustGet(t, s, "a").Value
		got[1] = 'X'
		if again := mustGet(t, s, "a").Value; string(again) != "one" {
			t.Errorf("the value became %q", again)
		}
	},
	"revisions rise with each write of a key": func(t *testing.T, s store.Store) {
		last := uint64(0)
		for range 20 {
			r := mustPut(t, s, "a", "v", store.PutOptions{})
			if r <= last {
				t.Fatalf("revision %d after %d", r, last)
			}
			last = r
			mustPut(t, s, "b", "v", store.PutOptions{})
		}
	},
	"a write expecting nothing there wins once": func(t *testing.T, s store.Store) {
		mustPut(t, s, "a", "one", store.PutOptions{Expect: store.Expect(0)})
		_, err := s.Put(t.Context(), "a", []byte("two"), store.PutOptions{Expect: store.Expect(0)})
		wantError(t, "Put", err, store.ErrConflict)
		if got := mustGet(t, s, "a"); string(got.Value) != "one" {
			t.Errorf("the refused write left %q", got.Value)
		}
	},
	"a write expecting a revision wins only on that one": func(t *testing.T, s store.Store) {
		first := mustPut(t, s, "a", "one", store.PutOptions{})
		second := mustPut(t, s, "a", "two", store.PutOptions{Expect: &first})
		_, err := s.Put(t.Context(), "a", []byte("x"), store.PutOptions{Expect: &first})
		wantError(t, "Put on an old revision", err, store.ErrConflict)
		_, err = s.Put(t.Context(), "none", []byte("x"), store.PutOptions{Expect: &second})
		wantError(t, "Put on an absent key", err, store.ErrConflict)
		_, err = s.Get(t.Context(), "none")
		wantError(t, "Get", err, store.ErrNotFound)
	},
	"deleting removes, and needs the expected revision": func(t *testing.T, s store.Store) {
		r := mustPut(t, s, "a", "one", store.PutOptions{})
		wrong := r + 1
		wantError(t, "Delete", s.Delete(t.Context(), "a", &wrong), store.ErrConflict)
		wantError(t, "Delete", s.Delete(t.Context(), "a", store.Expect(0)), store.ErrConflict)
		mustGet(t, s, "a")
		wantError(t, "Delete", s.Delete(t.Context(), "a", &r), nil)
		_, err := s.Get(t.Context(), "a")
		wantError(t, "Get", err, store.ErrNotFound)
		wantError(t, "Delete again", s.Delete(t.Context(), "a", &r), store.ErrNotFound)
		wantError(t, "Delete again", s.Delete(t.Context(), "a", store.Expect(0)),
			store.ErrNotFound)
		wantError(t, "Delete whatever", s.Delete(t.Context(), "a", nil), nil)
		wantKeys(t, s, "")
	},
	"a key made anew does not match the revision it had": func(t *testing.T, s store.Store) {
		old := mustPut(t, s, "a", "one", store.PutOptions{})
		wantError(t, "Delete", s.Delete(t.Context(), "a", nil), nil)
		mustPut(t, s, "a", "two", store.PutOptions{})
		_, err := s.Put(t.Context(), "a", []byte("three"), store.PutOptions{Expect: &old})
		wantError(t, "Put", err, store.ErrConflict)
	},
	"arguments outside the contract are refused": refuseInvalid,
}

func refuseInvalid(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, bad := range []string{"", "a\nb", "a\x00", "é", "a\x7f", strings.Repeat("k", 513)} {
		_, err := s.Get(ctx, bad)
		wantError(t, "Get", err, store.ErrInvalid)
		_, err = s.Put(ctx, bad, nil, store.PutOptions{})
		wantError(t, "Put", err, store.ErrInvalid)
		wantError(t, "Delete", s.Delete(ctx, bad, nil), store.ErrInvalid)
		_, err = s.Append(ctx, bad, nil)
		wantError(t, "Append", err, store.ErrInvalid)
		_, err = s.Read(ctx, bad, 0, 1)
		wantError(t, "Read", err, store.ErrInvalid)
		wantError(t, "Trim", s.Trim(ctx, bad, 1), store.ErrInvalid)
		_, err = s.Acquire(ctx, bad, "h", time.Second)
		wantError(t, "Acquire", err, store.ErrInvalid)
		_, err = s.Acquire(ctx, "l", bad, time.Second)
		wantError(t, "Acquire", err, store.ErrInvalid)
		wantError(t, "Release", s.Release(ctx, store.Lease{Name: bad}), store.ErrInvalid)
		if bad != "" {
			_, err = s.List(ctx, bad)
			wantError(t, "List", err, store.ErrInvalid)
		}
	}
	big := make([]byte, store.MaxValueBytes+1)
	_, err := s.Put(ctx, "a", big, store.PutOptions{})
	wantError(t, "Put of too much", err, store.ErrInvalid)
	_, err = s.Append(ctx, "a", big)
	wantError(t, "Append of too much", err, store.ErrInvalid)
	_, err = s.Acquire(ctx, "l", "h", 0)
	wantError(t, "Acquire for no time", err, store.ErrInvalid)
}

// short is a life span that tests wait out.
const short = 40 * time.Millisecond

var expiryTests = map[string]func(*testing.T, store.Store){
	"an entry is gone after its time": func(t *testing.T, s store.Store) {
		mustPut(t, s, "t/b", "v", store.PutOptions{TTL: time.Hour})
		mustGet(t, s, "t/b")
		r := mustPut(t, s, "t/a", "v", store.PutOptions{TTL: short})
		waitGone(t, s, "t/a")
		wantKeys(t, s, "t/", "t/b")
		wantError(t, "Delete", s.Delete(t.Context(), "t/a", &r), store.ErrNotFound)
		_, err := s.Put(t.Context(), "t/a", nil, store.PutOptions{Expect: &r})
		wantError(t, "Put", err, store.ErrConflict)
		mustPut(t, s, "t/a", "new", store.PutOptions{Expect: store.Expect(0)})
		wantKeys(t, s, "t/", "t/a", "t/b")
	},
	"writing again sets the life span anew": func(t *testing.T, s store.Store) {
		mustPut(t, s, "kept", "v", store.PutOptions{TTL: short})
		mustPut(t, s, "kept", "v", store.PutOptions{})
		mustPut(t, s, "longer", "v", store.PutOptions{TTL: short})
		mustPut(t, s, "longer", "v", store.PutOptions{TTL: time.Hour})
		mustPut(t, s, "shorter", "v", store.PutOptions{TTL: time.Hour})
		mustPut(t, s, "shorter", "v", store.PutOptions{TTL: 2 * short})
		waitGone(t, s, "shorter")
		for i := range 20 { // each write may sweep what has expired
			mustPut(t, s, numbered("other/", i), "v", store.PutOptions{})
		}
		mustGet(t, s, "kept")
		mustGet(t, s, "longer")
	},
	"the shortest life span is a life span": func(t *testing.T, s store.Store) {
		mustPut(t, s, "a", "v", store.PutOptions{TTL: time.Nanosecond})
		waitGone(t, s, "a")
	},
	"many entries expire without being touched": func(t *testing.T, s store.Store) {
		together(t, 8, func(i int) error {
			for j := range 25 {
				key := numbered("t/", i*100+j)
				o := store.PutOptions{TTL: short}
				if _, err := s.Put(t.Context(), key, []byte("v"), o); err != nil {
					return err
				}
			}
			return nil
		})
		eventually(t, "all expired", func() bool {
			list, err := s.List(t.Context(), "t/")
			return err == nil && len(list) == 0
		})
		mustPut(t, s, "t/new", "v", store.PutOptions{})
		wantKeys(t, s, "t/", "t/new")
	},
}

func waitGone(t *testing.T, s store.Store, key string) {
	t.Helper()
	eventually(t, "expiry of "+key, func() bool {
		_, err := s.Get(context.WithoutCancel(t.Context()), key)
		if err != nil {
			wantError(t, "Get", err, store.ErrNotFound)
		}
		return err != nil
	})
}

var listTests = map[string]func(*testing.T, store.Store){
	"a list has the prefix's keys in order": func(t *testing.T, s store.Store) {
		for _, key := range []string{"b/2", "b/10", "b", "b/", "a/z", "b0", "B/1", "c", "b/~", "b/ x"} {
			mustPut(t, s, key, "of "+key, store.PutOptions{})
		}
		wantKeys(t, s, "b/", "b/", "b/ x", "b/10", "b/2", "b/~")
		wantKeys(t, s, "b/1", "b/10")
		wantKeys(t, s, "nothing")
		wantKeys(t, s, "", "B/1", "a/z", "b", "b/", "b/ x", "b/10", "b/2", "b/~", "b0", "c")
		list, err := s.List(t.Context(), "b/2")
		if err != nil || len(list) != 1 {
			t.Fatalf("List = %v, %v", list, err)
		}
		if diff := cmp.Diff(mustGet(t, s, "b/2"), list[0]); diff != "" {
			t.Errorf("List differs from Get:\n%s", diff)
		}
	},
	"a long list is whole": func(t *testing.T, s store.Store) {
		const n = 600
		value := strings.Repeat("v", 4<<10)
		together(t, 8, func(i int) error {
			for j := i; j < n; j += 8 {
				_, err := s.Put(t.Context(), numbered("l/", j), []byte(value), store.PutOptions{})
				if err != nil {
					return err
				}
			}
			return nil
		})
		want := make([]string, n)
		for i := range want {
			want[i] = numbered("l/", i)
		}
		wantKeys(t, s, "l/", want...)
	},
}
