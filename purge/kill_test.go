package purge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
	"pointsman/providers"
	"pointsman/purge"
)

// The environment of the child process.
const (
	killChildEnv = "POINTSMAN_TEST_KILL_CHILD" // "accept" or "drain"
	killDirEnv   = "POINTSMAN_TEST_KILL_DIR"
	killURLEnv   = "POINTSMAN_TEST_KILL_URL"
)

const (
	killRounds  = 200
	killClients = 3
	killOpen    = 60
)

// remote is a provider whose API is the parent's recording server. It speaks plain net/http: a
// journal is tested here, not a client.
type remote struct {
	url    string
	client *http.Client
}

func (r *remote) Name() string                         { return "remote" }
func (r *remote) Vendor() string                       { return "test" }
func (r *remote) Capabilities() providers.Capabilities { return full(30) }

func (r *remote) Purge(ctx context.Context, b providers.Batch) (providers.Receipt, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return providers.Receipt{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return providers.Receipt{}, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return providers.Receipt{}, &providers.Error{Provider: "remote", Operation: "POST /",
			Class: providers.Transient, Unknown: true, Err: err}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		return providers.Receipt{}, &providers.Error{Provider: "remote", Operation: "POST /",
			Class: providers.Transient, Status: resp.StatusCode, Unknown: true, Err: err}
	}
	return providers.Receipt{Confirmed: true}, nil
}

// killChild is the process that is killed. It prints one line per acknowledged purge, in one
// write each, so that a line that the parent reads was whole.
func killChild() int {
	db, err := boltstore.Open(boltstore.Config{
		Path: filepath.Join(os.Getenv(killDirEnv), "journal.db")})
	if err != nil {
		fmt.Println("ERROR opening:", err)
		return 1
	}
	transport := &http.Transport{}
	s, err := purge.New(purge.Config{
		Node: "child", Local: db, Tick: 50 * time.Millisecond,
		// A short queue, so that deliveries are under way when the process dies, not just starts.
		MaxOpen: killOpen,
		// Whatever cannot be read is logged at Error.
		Logger: slog.New(slog.NewTextHandler(os.Stdout,
			&slog.HandlerOptions{Level: slog.LevelError})),
		Targets: []purge.Target{{Provider: &remote{
			url: os.Getenv(killURLEnv), client: &http.Client{Transport: transport}}}},
	})
	if err != nil {
		fmt.Println("ERROR configuring:", err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			fmt.Println("ERROR running:", err)
		}
	})
	if os.Getenv(killChildEnv) == "accept" {
		for i := range killClients {
			wg.Go(func() { acceptForever(s, strconv.Itoa(i)) })
		}
		wg.Wait() // until killed
	}
	err = drained(db)
	cancel()
	wg.Wait()
	if err = errors.Join(err, db.Close()); err != nil {
		fmt.Println("ERROR draining:", err)
		return 1
	}
	return 0
}

func acceptForever(s *purge.Service, client string) {
	for i := 0; ; i++ {
		tag := fmt.Sprintf("tag-%d-%s-%d", os.Getpid(), client, i)
		st, err := s.Submit(context.Background(), tags(tag))
		if errors.Is(err, purge.ErrOverloaded) {
			<-time.After(time.Millisecond) // the queue is full: a delivery makes room
			continue
		}
		if err != nil {
			fmt.Println("ERROR submitting:", err)
			return
		}
		fmt.Printf("ACK %s %s\n", st.ID, tag)
	}
}

// drained waits until the journal has no unfinished purge.
func drained(db store.Store) error {
	deadline := time.Now().Add(time.Minute)
	for now := range time.Tick(20 * time.Millisecond) { // another process's work, on a disk
		list, err := db.List(context.Background(), "purge/open/")
		if err != nil || len(list) == 0 {
			return err
		}
		if now.After(deadline) {
			return fmt.Errorf("%d purges are unfinished after a minute", len(list))
		}
	}
	return nil
}

// recorder is the remote provider's API. It applies every batch, and in one of eight cases
// breaks the connection instead of answering: the client can't know.
type recorder struct {
	mu      sync.Mutex // guards all below
	rand    *rand.Rand
	applied map[string][]application // by purge
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var b providers.Batch
	if err := json.NewDecoder(req.Body).Decode(&b); err != nil {
		return // the child died while it wrote: nothing was asked
	}
	r.mu.Lock()
	r.applied[b.PurgeID] = append(r.applied[b.PurgeID], application{Batch: b, at: time.Now()})
	lost := r.rand.IntN(8) == 0
	r.mu.Unlock()
	if lost {
		panic(http.ErrAbortHandler)
	}
}

// acknowledged is what the children printed, and what they complained of.
type acknowledged struct {
	tags   map[string]string // by purge id
	errors []string
}

// run starts a child and kills it as told: some time after its first acknowledgement, or, when
// anyway is set, after that time whatever it is doing. A zero kill waits for its end.
func (a *acknowledged) run(t *testing.T, mode, dir, url string, kill time.Duration, anyway bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), killChildEnv+"="+mode, killDirEnv+"="+dir, killURLEnv+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	var timer *time.Timer
	arm := func() {
		if kill > 0 {
			once.Do(func() { timer = time.AfterFunc(kill, func() { _ = cmd.Process.Kill() }) })
		}
	}
	if anyway {
		arm()
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word := strings.Fields(lines.Text())
		if len(word) == 3 && word[0] == "ACK" {
			arm()
			a.tags[word[1]] = word[2]
			continue
		}
		a.errors = append(a.errors, lines.Text())
	}
	err = cmd.Wait()
	if timer != nil {
		timer.Stop()
	}
	if kill == 0 && err != nil {
		t.Errorf("child that drained: %v", err)
	}
}

// The promise itself: a purge that was acknowledged is delivered, whenever the process died.
func TestKillingTheProcessAtRandomMomentsLosesNoAcknowledgedPurge(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	api := &recorder{rand: rand.New(rand.NewPCG(seed, 1)), applied: map[string][]application{}}
	server := httptest.NewUnstartedServer(api)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	acks := &acknowledged{tags: map[string]string{}}
	began := time.Now()
	for round := range killRounds {
		kill := time.Millisecond + time.Duration(random.Int64N(int64(60*time.Millisecond)))
		acks.run(t, "accept", dir, server.URL, kill, round%10 == 9)
	}
	killed := time.Since(began)
	api.mu.Lock()
	during := len(api.applied)
	api.mu.Unlock()
	acks.run(t, "drain", dir, server.URL, 0, false)
	server.Close()
	for _, line := range acks.errors {
		t.Errorf("a child said: %s", line)
	}
	if len(acks.tags) < killRounds || during < killRounds/10 { // or little was interrupted
		t.Errorf("only %d purges were acknowledged and %d delivered in %d rounds",
			len(acks.tags), during, killRounds)
	}
	checkDelivered(t, dir, acks, api)
	t.Logf("%d acknowledged purges, %d kills in %v, %d purges delivered meanwhile, drained in %v",
		len(acks.tags), killRounds, killed.Round(time.Millisecond), during, (time.Since(began) - killed).Round(time.Millisecond))
}

// checkDelivered compares what was acknowledged with what the provider ran and with what the
// journal says.
func checkDelivered(t *testing.T, dir string, acks *acknowledged, api *recorder) {
	t.Helper()
	db, err := boltstore.Open(boltstore.Config{Path: filepath.Join(dir, "journal.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := purge.New(purge.Config{Node: "child", Local: db})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id, tag := range acks.tags {
		st, err := s.Get(t.Context(), id)
		if err != nil || st.Outcome() != purge.Done || st.Request.Items[0] != tag {
			t.Errorf("purge %s of %s: status %+v, error %v", id, tag, st, err)
			continue
		}
		if !ranAfter(api.applied[id], tag, st.AcceptedAt) {
			if lost++; lost < 10 {
				t.Errorf("purge %s of %s was acknowledged at %v; applied: %+v",
					id, tag, st.AcceptedAt, api.applied[id])
			}
		}
		keys := map[string]bool{}
		for _, a := range api.applied[id] {
			keys[a.RepeatKey] = true
		}
		if len(keys) > 1 {
			t.Errorf("purge %s went out under %d repeat keys", id, len(keys))
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged purges were never applied", lost, len(acks.tags))
	}
}

func ranAfter(applied []application, tag string, accepted time.Time) bool {
	for _, a := range applied {
		if len(a.Items) == 1 && a.Items[0] == tag && !a.at.Before(accepted) {
			return true
		}
	}
	return false
}
