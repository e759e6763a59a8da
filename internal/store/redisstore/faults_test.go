package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/secret"
	"pointsman/internal/store"
	"pointsman/internal/store/redisstore"
)

// everyCall makes each call of the contract once.
func everyCall(ctx context.Context, s store.Store) map[string]error {
	errs := map[string]error{}
	_, errs["Get"] = s.Get(ctx, "a")
	_, errs["Put"] = s.Put(ctx, "a", nil, store.PutOptions{})
	_, errs["Put expecting"] = s.Put(ctx, "a", nil, store.PutOptions{Expect: store.Expect(7)})
	errs["Delete"] = s.Delete(ctx, "a", nil)
	_, errs["List"] = s.List(ctx, "")
	_, errs["Append"] = s.Append(ctx, "log", nil)
	_, errs["Read"] = s.Read(ctx, "log", 0, 1)
	errs["Trim"] = s.Trim(ctx, "log", 1)
	_, errs["Acquire"] = s.Acquire(ctx, "lease", "h", time.Second)
	errs["Release"] = s.Release(ctx, store.Lease{Name: "lease", Holder: "h", Token: 1})
	return errs
}

// wantUnavailable checks that every call fails as it should, each within the limit.
func wantUnavailable(t *testing.T, s store.Store, limit time.Duration) {
	t.Helper()
	began := time.Now()
	errs := everyCall(t.Context(), s)
	if took := time.Since(began); took > limit*time.Duration(len(errs)) {
		t.Errorf("%d calls took %v", len(errs), took)
	}
	for name, err := range errs {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s = %v", name, err)
		}
	}
}

// works polls until the store takes a write.
func works(t *testing.T, s store.Store) {
	t.Helper()
	eventually(t, "the store works", func(ctx context.Context) bool {
		_, err := s.Put(ctx, "a", []byte("v"), store.PutOptions{})
		return err == nil
	})
}

func TestMakingAStoreNeedsNoServer(t *testing.T) {
	defer goleak.VerifyNone(t)
	s, err := redisstore.New(redisstore.Config{Address: freeAddress(t)})
	if err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, s, 100*time.Millisecond)
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping = %v", err)
	}
	warnings := s.CheckServer(t.Context())
	if len(warnings) != 1 || !strings.Contains(warnings[0], "could not be checked") {
		t.Errorf("CheckServer = %q", warnings)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAConfigThatCanNeverWorkIsRefused(t *testing.T) {
	for name, c := range map[string]redisstore.Config{
		"no address":       {},
		"braces":           {Address: "a:1", Prefix: "a{b}"},
		"unprintable":      {Address: "a:1", Prefix: "a\n"},
		"long prefix":      {Address: "a:1", Prefix: strings.Repeat("p", 65)},
		"negative db":      {Address: "a:1", DB: -1},
		"negative timeout": {Address: "a:1", Timeout: -1},
	} {
		if s, err := redisstore.New(c); err == nil {
			_ = s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAKilledServerIsUnavailableUntilItIsBack(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{})
	for range 3 {
		works(t, s)
		srv.kill()
		wantUnavailable(t, s, 100*time.Millisecond)
		if err := srv.start(); err != nil {
			t.Fatal(err, srv.output)
		}
	}
	works(t, s)
}

func TestAHangingServerIsUnavailableWithinTheTimeout(t *testing.T) {
	const timeout = 60 * time.Millisecond
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{Timeout: timeout})
	works(t, s)
	srv.signal(syscall.SIGSTOP)
	wantUnavailable(t, s, 2*timeout)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get = %v", err)
	}
	if took := time.Since(began); took > timeout {
		t.Errorf("a deadline of 5 ms took %v", took)
	}
	srv.signal(syscall.SIGCONT)
	works(t, s)
}

func TestAnUnansweredWriteIsNotRepeated(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{Timeout: 50 * time.Millisecond})
	if _, err := s.Append(t.Context(), "log", []byte("first")); err != nil {
		t.Fatal(err)
	}
	srv.do("CLIENT", "PAUSE", "300", "ALL")
	if _, err := s.Append(t.Context(), "log", []byte("x")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Append = %v", err)
	}
	works(t, s)
	records, err := s.Read(t.Context(), "log", 0, 10)
	if err != nil || len(records) > 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestAnEmptiedServerIsAnEmptyStore(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{})
	ctx := t.Context()
	revision, err := s.Put(ctx, "a", []byte("v"), store.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sequence, err := s.Append(ctx, "log", []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	lease, err := s.Acquire(ctx, "lease", "h", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	srv.do("FLUSHALL")
	srv.do("SCRIPT", "FLUSH")
	if _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
	if _, err := s.Put(ctx, "a", nil, store.PutOptions{Expect: &revision}); !errors.Is(err,
		store.ErrConflict) {
		t.Errorf("Put = %v", err)
	}
	if list, err := s.List(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("List = %v, %v", list, err)
	}
	if next, err := s.Append(ctx, "log", []byte("after")); err != nil || next <= sequence {
		t.Errorf("Append = %d, %v, after %d: readers would miss it", next, err, sequence)
	}
	if err := s.Release(ctx, lease); err != nil {
		t.Errorf("Release = %v", err)
	}
	if next, err := s.Acquire(ctx, "lease", "h", time.Minute); err != nil ||
		next.Token <= lease.Token {
		t.Errorf("Acquire = %+v, %v; the token was %d", next, err, lease.Token)
	}
	for _, command := range [][]string{{"FLUSHALL"}, {"FLUSHDB"}} {
		srv.do(command...)
		for name, err := range everyCall(ctx, s) {
			if errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s after %s = %v", name, command, err)
			}
		}
	}
}

func TestAServerThatTakesNoWritesIsUnavailable(t *testing.T) {
	for name, c := range map[string]struct{ begin, end []string }{
		"out of memory": {
			[]string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"},
		},
		"without replicas": {
			[]string{"CONFIG", "SET", "min-replicas-to-write", "1"},
			[]string{"CONFIG", "SET", "min-replicas-to-write", "0"},
		},
		"read-only": {
			[]string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t)
			s := srv.open(t, redisstore.Config{})
			works(t, s)
			if answer := srv.do(c.begin...); answer != "+OK" {
				t.Fatal(answer)
			}
			errs := everyCall(t.Context(), s)
			for _, call := range []string{"Put", "Append", "Acquire"} {
				if !errors.Is(errs[call], store.ErrUnavailable) {
					t.Errorf("%s = %v", call, errs[call])
				}
			}
			if name != "read-only" { // a replica without a primary may refuse reads too
				if _, err := s.List(t.Context(), ""); err != nil {
					t.Errorf("List = %v", err)
				}
			}
			srv.do(c.end...)
			works(t, s)
		})
	}
}

func TestAWrongPasswordIsUnavailableAndStaysSecret(t *testing.T) {
	srv := startServer(t, "--requirepass", "right-p4ss")
	good := srv.open(t, redisstore.Config{Password: secret.New("right-p4ss")})
	works(t, good)
	for _, password := range []string{"", "wr0ng-p4ss"} {
		s := srv.open(t, redisstore.Config{Password: secret.New(password)})
		for name, err := range everyCall(t.Context(), s) {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s = %v", name, err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, s), "p4ss") {
				t.Errorf("%s shows the password: %v", name, err)
			}
		}
	}
}

func TestWhatAnOperatorShouldChangeIsNamed(t *testing.T) {
	srv := startServer(t, "--maxmemory-policy", "allkeys-lru")
	s := srv.open(t, redisstore.Config{})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.CheckServer(t.Context()), "\n")
	for _, want := range []string{"maxmemory-policy is allkeys-lru", "appendonly is off"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	srv.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	srv.do("CONFIG", "SET", "appendonly", "yes")
	if got := s.CheckServer(t.Context()); len(got) != 0 {
		t.Errorf("a good server: %q", got)
	}
	srv.do("REPLICAOF", "127.0.0.1", "1")
	if got := s.CheckServer(t.Context()); len(got) != 1 || !strings.Contains(got[0], "replica") {
		t.Errorf("a replica: %q", got)
	}
}

func TestAWatchOutlivesItsServer(t *testing.T) {
	defer goleak.VerifyNone(t)
	srv := startServer(t)
	defer srv.kill()
	reader, err := redisstore.New(redisstore.Config{Address: srv.address})
	if err != nil {
		t.Fatal(err)
	}
	writer, err := redisstore.New(redisstore.Config{Address: srv.address})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	signals := reader.Watch(ctx, "w/")
	signalled := func(context.Context) bool {
		select {
		case <-signals:
			return true
		default:
			return false
		}
	}
	for range 2 {
		eventually(t, "the signal of a connection", signalled)
		if _, err := writer.Put(ctx, "other", nil, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		// Hints come in order: the first one is of the second write alone.
		if _, err := writer.Put(ctx, "w/a", nil, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the signal of a write", signalled)
		srv.kill()
		if err := srv.start(); err != nil {
			t.Fatal(err, srv.output)
		}
	}
	cancel()
	eventually(t, "the end of the watch", func(context.Context) bool {
		_, open := <-signals
		return !open
	})
	if err := errors.Join(reader.Close(), writer.Close()); err != nil {
		t.Error(err)
	}
}

// TestNoCommandIsUnknownToTheOldestServer looks at the server's own count of refused commands.
func TestNoCommandIsUnknownToTheOldestServer(t *testing.T) {
	srv := startServer(t)
	s := srv.open(t, redisstore.Config{})
	<-s.Watch(t.Context(), "") // signals once subscribed
	for name, err := range everyCall(t.Context(), s) {
		if errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s = %v", name, err)
		}
	}
	stats := srv.bulk("INFO", "errorstats")
	for line := range strings.Lines(stats) {
		// Scripts are asked for by hash first; nothing else may be refused.
		if strings.HasPrefix(line, "errorstat_") && !strings.HasPrefix(line, "errorstat_NOSCRIPT") {
			t.Errorf("the server refused something: %s", line)
		}
	}
	if !strings.Contains(stats, "errorstat_NOSCRIPT") {
		t.Errorf("no statistics: %q", stats)
	}
}
