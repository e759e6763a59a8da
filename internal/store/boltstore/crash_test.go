package boltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
)

// childEnv makes the test binary a writer that is to be killed, on the file it names.
const childEnv = "POINTSMAN_TEST_CRASH_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // only a kill ends it well
	}
	os.Exit(m.Run())
}

// writeForever acknowledges each write on stdout once the store has acknowledged it.
func writeForever(path string) error {
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make(chan error, 4)
	for writer := range 4 {
		group.Go(func() { errs <- write(s, writer) })
	}
	err = <-errs
	group.Wait()
	return err
}

func write(s *boltstore.Store, writer int) error {
	ctx := context.Background()
	for i := 0; ; i++ {
		name := fmt.Sprintf("%d.%d.%d", os.Getpid(), writer, i)
		// A value of varying size, so that pages split and the file grows.
		value := name + " " + strings.Repeat("v", i%7*300)
		var err error
		if i%2 == 0 {
			_, err = s.Append(ctx, "log", []byte(value))
		} else {
			_, err = s.Put(ctx, "key/"+name, []byte(value), store.PutOptions{})
		}
		if err != nil {
			return err
		}
		// One write call, which a pipe takes whole.
		if _, err := os.Stdout.WriteString(name + "\n"); err != nil {
			return err
		}
	}
}

// TestNoAcknowledgedWriteIsLostByKillNine kills a writer at random moments, its creation of
// the file included, and looks for every write that it had acknowledged.
func TestNoAcknowledgedWriteIsLostByKillNine(t *testing.T) {
	const rounds = 30
	path := filepath.Join(t.TempDir(), "pointsman.db")
	random := rand.New(rand.NewPCG(4, 4))
	acknowledged := map[string]bool{}
	for round := range rounds {
		if round%10 == 0 { // a few rounds create the file
			path = filepath.Join(t.TempDir(), "pointsman.db")
			clear(acknowledged)
		}
		crash(t, path, time.Duration(random.IntN(120))*time.Millisecond, acknowledged)
		lookFor(t, path, acknowledged)
	}
	if len(acknowledged) < 50 {
		t.Errorf("only %d writes were acknowledged: too few to prove anything", len(acknowledged))
	}
}

// crash starts a writer, kills it after a while and adds what it acknowledged.
func crash(t *testing.T, path string, after time.Duration, acknowledged map[string]bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	var complaint strings.Builder
	child.Stderr = &complaint
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(after+5*time.Millisecond, func() { _ = child.Process.Kill() })
	defer kill.Stop()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a line without its end was not acknowledged
		}
		if err != nil {
			t.Fatal(err)
		}
		acknowledged[strings.TrimSuffix(line, "\n")] = true
	}
	_ = child.Wait()
	if complaint.Len() > 0 {
		t.Fatalf("the writer says: %s", complaint.String())
	}
}

func lookFor(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	defer func() { _ = s.Close() }()
	found := map[string]bool{}
	add := func(value []byte) {
		name, rest, ok := strings.Cut(string(value), " ")
		if !ok || strings.Trim(rest, "v") != "" {
			t.Errorf("a partial write was read: %.40q", value)
		}
		if found[name] {
			t.Errorf("%s is there twice", name)
		}
		found[name] = true
	}
	records, err := s.Read(t.Context(), "log", 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		add(r.Value)
	}
	list, err := s.List(t.Context(), "key/")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		add(e.Value)
	}
	for name := range acknowledged {
		if !found[name] {
			t.Errorf("acknowledged write %s is lost", name)
		}
	}
}
