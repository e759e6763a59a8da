package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/admin/api"
)

// A plain world has one node and three backends that are only ports: alpha and charlie accept
// connections, bravo does not unless a test opens it.
type plain struct {
	lane  lane
	name  string
	port  int
	dir   string
	file  string
	state string
	dns   string
	admin string
	edge  string
	every time.Duration // the probes' interval
	as    answers
	// providers is a part of the config, or "".
	providers string
}

const plainConfig = `node: %[8]s
roles: [dns, probe, edge, admin]
state_dir: %[1]s
store: %[2]s
dns: {listen: ["%[3]s"]}
zones:
  - name: example.test
    ttl: 1m
    ns: [ns1.example.test, ns2.example.test]
    records:
      - {name: ns1, type: A, data: %[4]s1}
      - {name: ns2, type: A, data: %[4]s1}
probing: {interval: %[7]s, timeout: 150ms}
backends:
  - {name: alpha, addresses: [%[4]s11], probe: {kind: tcp, address: "%[4]s11:%[5]d"}}
  - {name: bravo, addresses: [%[4]s12], probe: {kind: tcp, address: "%[4]s12:%[5]d"}}
  - {name: charlie, addresses: [%[4]s13], probe: {kind: tcp, address: "%[4]s13:%[5]d"}}
pools:
  - name: cdns
    members:
      - {backend: alpha, weight: 50}
      - {backend: bravo, weight: 30}
      - {backend: charlie, weight: 20}
hosts:
  - {name: cdn.example.test, ttl: 1s, pools: [cdns]}
%[9]sedge:
  listen: ["%[10]s"]
  memory: 16MiB
  sites: [{hosts: [cdn.example.test], origin: "http://%[4]s15:%[5]d"}]
admin: {listen: "%[6]s"}
`

func newPlain(t *testing.T) *plain {
	t.Helper()
	l := newLane()
	p := newPlainOf(t, "plain", l, l.port(t), 1)
	p.configure(t, "{kind: bolt}")
	return p
}

// newPlainOf prepares a node of several, each with a number from 1, without writing its config.
func newPlainOf(t *testing.T, name string, l lane, port, number int) *plain {
	t.Helper()
	p := &plain{lane: l, name: name, port: port, dir: t.TempDir(), every: 200 * time.Millisecond,
		as: answers{l.ip(11): "alpha", l.ip(12): "bravo", l.ip(13): "charlie"}}
	p.file = filepath.Join(p.dir, "pointsman.yaml")
	p.state = filepath.Join(p.dir, "state")
	p.dns, p.admin, p.edge = l.addr(100*number-99, port), l.addr(100*number-98, port),
		l.addr(100*number-97, port)
	return p
}

// configure writes the config with a store.
func (p *plain) configure(t *testing.T, store string) {
	t.Helper()
	write(t, p.file, fmt.Sprintf(plainConfig, p.state, store, p.dns, p.lane.prefix, p.port,
		p.admin, p.every, p.name, p.providers, p.edge))
}

func (p *plain) serve(t *testing.T) *node { return serve(t, p.name, p.file, p.admin) }

// firstAnswer asks a node that is starting until it answers at all, and returns how long after
// the start that was and which backend it named.
func (p *plain) firstAnswer(t *testing.T, n *node) (time.Duration, string) {
	t.Helper()
	a := &asker{client: dns.Client{Net: "udp", Timeout: 50 * time.Millisecond}, server: p.dns}
	defer a.close()
	var m *dns.Msg
	await(t, 15*time.Second, "the node answers", func() bool {
		if !n.running() {
			t.Fatal("the node ended at its start")
		}
		var err error
		m, err = a.ask(steered, dns.TypeA)
		return err == nil
	})
	took := time.Since(n.started)
	backend, err := p.as.backend(m)
	if err != nil {
		t.Fatalf("the first answer is wrong: %v", err)
	}
	return took, backend
}

// startLimit is how soon after exec the first right answer must be there.
const startLimit = time.Second

// startRedis starts a server of Debian's and returns its address and its end.
func startRedis(t *testing.T, addr string) *process {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	p := launch(t, "redis", tool(t, "redis-server", "redis-server"), "--bind", host,
		"--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	await(t, 10*time.Second, "redis listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// mute accepts connections and never says a word.
func mute(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// blackHole makes an address on which connecting neither succeeds nor fails: the queue of
// those who wait to be accepted is full, so the kernel drops whoever comes next.
func blackHole(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }) // shortens the queue
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of a listener does not fill")
}

// redisAt is a store's config.
func redisAt(addr string) string { return fmt.Sprintf(`{kind: redis, redis: {address: "%s"}}`, addr) }

func TestAStartWithNothingInReachAnswersFromTheLastKnownGoodState(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	store := p.lane.addr(20, p.port)
	redis := startRedis(t, store)
	alpha := startSite(t, p.lane.addr(11, p.port))
	charlie := startSite(t, p.lane.addr(13, p.port))
	p.configure(t, redisAt(store))
	n := p.serve(t)
	n.ready(t)
	n.healthy(t, "alpha", "charlie")
	await(t, 10*time.Second, "bravo is unhealthy", func() bool { return n.state("bravo") == "unhealthy" })
	drained := n.override(t, api.Override{Kind: "drain", Backend: "charlie", Reason: "costly", For: "1h"})
	await(t, 5*time.Second, "the redis is in reach", func() bool {
		s, ok := n.status()
		return ok && s.Store.Reachable
	})
	n.stop(t, 10*time.Second)
	redis.kill()
	alpha.stop()
	charlie.stop()

	saved := p.state
	silent, hole := p.lane.addr(21, p.port), p.lane.addr(22, p.port)
	mute(t, silent)
	blackHole(t, hole)
	for name, addr := range map[string]string{
		"a closed port":              store,
		"a black hole":               hole,
		"a network that is not ours": "198.51.100.1:6379", // RFC 5737: nobody's
		"a server that never speaks": silent,
	} {
		t.Run(name, func(t *testing.T) {
			p.state, p.every = t.TempDir(), time.Second
			if err := os.CopyFS(p.state, os.DirFS(saved)); err != nil {
				t.Fatal(err)
			}
			p.configure(t, redisAt(addr))
			n := p.serve(t)
			took, backend := p.firstAnswer(t, n)
			t.Logf("first answer %v after exec, naming %s", took.Round(time.Millisecond), backend)
			if took > startLimit {
				t.Errorf("the first answer came after %v, want at most %v", took, startLimit)
			}
			// Of the saved states: bravo is unhealthy, charlie drained. The probes, which now
			// fail for alpha too, overrule that only after three of them.
			got := burst(t, p.dns, p.as, 100)
			if backend != "alpha" || got["alpha"] != 100 {
				t.Errorf("named %s, then %v, want alpha alone", backend, got)
			}
			if _, ok := n.overrides(t)[drained]; !ok {
				t.Error("the drain of charlie is forgotten")
			}
			// An emergency switch works on a node that is alone.
			began := time.Now()
			pin := n.override(t, api.Override{Kind: "pin", Backend: "bravo", Reason: "alone",
				For: "1h"})
			pinned := time.Since(began)
			if pinned > 3*time.Second {
				t.Errorf("a pin took %v", pinned)
			}
			await(t, 2*time.Second, "the pin is in force", func() bool {
				return burst(t, p.dns, p.as, 20)["bravo"] == 20
			})
			n.undo(t, pin)
			t.Logf("a pin took %v, the stop %v", pinned.Round(time.Millisecond),
				n.stop(t, 5*time.Second).Round(time.Millisecond))
		})
	}
}

// override puts one in force and returns its ID.
func (n *node) override(t *testing.T, o api.Override) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	got, err := n.api.AddOverride(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return got.ID
}

func (n *node) undo(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.api.RemoveOverride(ctx, id); err != nil {
		t.Fatal(err)
	}
}

// overrides are those in force, by ID.
func (n *node) overrides(t *testing.T) map[string]api.Override {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	list, err := n.api.Overrides(ctx)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]api.Override{}
	for _, o := range list {
		byID[o.ID] = o
	}
	return byID
}

// acts is what a caller of the admin API was told before the node died.
type acts struct {
	mu             sync.Mutex // guards what follows
	added, removed map[string]bool
	doubtful       map[string]bool // asked to be removed, and never answered
	ended          bool
}

// act adds and removes overrides until the node no longer answers.
func (a *acts) act(n *node) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := 0; ; i++ {
		o, err := n.api.AddOverride(ctx, api.Override{Kind: "weight", Backend: "charlie",
			Weight: 20, Reason: fmt.Sprint("act ", i), For: "1h"})
		if err != nil {
			break
		}
		a.note(a.added, o.ID)
		if i%3 != 2 {
			continue
		}
		a.note(a.doubtful, o.ID)
		if err := n.api.RemoveOverride(ctx, o.ID); err != nil {
			break
		}
		a.note(a.removed, o.ID)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

func (a *acts) note(set map[string]bool, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	set[id] = true
}

func TestAKilledNodeKeepsEveryOverrideThatItAcknowledged(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	startSite(t, p.lane.addr(11, p.port))
	startSite(t, p.lane.addr(12, p.port))
	startSite(t, p.lane.addr(13, p.port))
	n := p.serve(t)
	n.ready(t)
	n.override(t, api.Override{Kind: "drain", Backend: "bravo", Reason: "slow", For: "1h"})
	told := &acts{added: map[string]bool{}, removed: map[string]bool{}, doubtful: map[string]bool{}}
	const rounds = 8
	var slowest time.Duration
	for round := range rounds {
		told.ended = false
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { told.act(n) })
		}
		pass(time.Duration(rand.IntN(200)) * time.Millisecond)
		n.kill()
		wg.Wait()
		if !told.ended {
			t.Fatal("the caller noticed nothing")
		}

		n = p.serve(t)
		took, first := p.firstAnswer(t, n)
		slowest = max(slowest, took)
		if got := burst(t, p.dns, p.as, 100); first == "bravo" || got["bravo"] > 0 {
			t.Errorf("after kill %d: first %s, then %v, although bravo is drained", round, first, got)
		}
		n.ready(t)
		have := n.overrides(t)
		for id := range told.added {
			_, there := have[id]
			switch {
			case told.removed[id] && there:
				t.Errorf("after kill %d: %s is back, although its removal was acknowledged", round, id)
			case !told.removed[id] && !told.doubtful[id] && !there:
				t.Errorf("after kill %d: %s is gone, although it was acknowledged", round, id)
			case told.doubtful[id] && !there:
				told.removed[id] = true // and it must stay so
			}
		}
	}
	t.Logf("%d kills, %d overrides and %d removals acknowledged; slowest first answer %v after exec",
		rounds, len(told.added), len(told.removed), slowest.Round(time.Millisecond))
	if len(told.added) < rounds || len(told.removed) == 0 {
		t.Error("too few overrides to tell anything")
	}
	n.stop(t, 10*time.Second)
}

// leftovers lists the files below a folder.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}
