package redisstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pointsman/internal/store"
	"pointsman/internal/store/redisstore"
)

func TestValuesOfOthersAreRefused(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{})
	ctx := t.Context()
	const value, log, lease = "{pointsman}:k:a", "{pointsman}:l:log", "{pointsman}:h:lease"
	list := []string{"LPUSH", value, "x"}
	calls := map[string]func() error{
		"get":    func() error { _, err := s.Get(ctx, "a"); return err },
		"list":   func() error { _, err := s.List(ctx, ""); return err },
		"expect": func() error { return s.Delete(ctx, "a", store.Expect(1)) },
		"read":   func() error { _, err := s.Read(ctx, "log", 0, 9); return err },
		"append": func() error { _, err := s.Append(ctx, "log", nil); return err },
		"lease":  func() error { _, err := s.Acquire(ctx, "lease", "h", time.Second); return err },
		"put":    func() error { _, err := s.Put(ctx, "b", nil, store.PutOptions{}); return err },
	}
	for _, c := range []struct {
		garbage []string
		calls   string
	}{
		{[]string{"SET", value, "garbage"}, "get list expect"},
		{[]string{"SET", value, ""}, "get list expect"},
		{[]string{"SET", value, "pm1 1 1\nxx"}, "get list"},
		{[]string{"SET", value, "pm1 1\nx"}, "get list expect"},
		{[]string{"SET", value, "pm2 1 1\nx"}, "get list expect"},
		{[]string{"SET", value, "pm1 -1 1\nx"}, "get list expect"},
		{[]string{"SET", value, "pm1 0 1\nx"}, "get list"},
		{[]string{"SET", value, "pm1 99999999999999999999999 1\nx"}, "get list"},
		{list, "get list expect"},
		{[]string{"SET", "{pointsman}:i", "x"}, "list put"},
		{[]string{"SET", "{pointsman}:clock", "x"}, "put append lease"},
		{[]string{"SET", "{pointsman}:clock", "1e300"}, "put append lease"},
		{[]string{"SET", log, "x"}, "read append"},
		{[]string{"XADD", log, "5-5", "v", "x"}, "read"},
		{[]string{"XADD", log, "5-0", "w", "x"}, "read"},
		{[]string{"XADD", log, "5-0", "v", "x", "w", "x"}, "read"},
		{[]string{"XADD", log, "18446744073709551615-0", "v", "x"}, "append"},
		{[]string{"SET", lease, "x"}, "lease"},
		{[]string{"SET", lease, "pm1 99999999999999999999999 h"}, "lease"},
		{[]string{"LPUSH", lease, "x"}, "lease"},
	} {
		srv.do("FLUSHALL")
		srv.do("ZADD", "{pointsman}:i", "0", "a")
		if c.garbage[1] == "{pointsman}:i" {
			srv.do("DEL", "{pointsman}:i")
		}
		if answer := srv.do(c.garbage...); strings.HasPrefix(answer, "-") {
			t.Fatalf("%q: %s", c.garbage, answer)
		}
		for _, name := range strings.Fields(c.calls) {
			if err := calls[name](); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%q: %s = %v", c.garbage, name, err)
			}
		}
		// None of it may take the process down, whatever is called.
		everyCall(ctx, s)
	}
}

func TestANewValueReplacesGarbage(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{})
	srv.do("LPUSH", "{pointsman}:k:a", "garbage")
	if _, err := s.Put(t.Context(), "a", []byte("v"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "v" {
		t.Errorf("Get = %q, %v", e.Value, err)
	}
}

func TestALostClockLetsLogsGoOn(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{})
	srv.do("XADD", "{pointsman}:l:log", "8000000000000000-0", "v", "from a clock ahead")
	last := uint64(0)
	for range 3 {
		next, err := s.Append(t.Context(), "log", []byte("x"))
		if err != nil || next <= max(last, 8000000000000000) {
			t.Fatalf("Append = %d, %v", next, err)
		}
		last = next
	}
	if records, err := s.Read(t.Context(), "log", 0, 10); err != nil || len(records) != 4 {
		t.Errorf("Read = %v, %v", records, err)
	}
}
