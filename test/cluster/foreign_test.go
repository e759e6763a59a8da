package cluster_test

import (
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ramp is how long a returning backend takes to its full share in the foreign world.
const ramp = 8 * time.Second

// world is one node in front of two nginx and one varnish that cache for one origin, with an
// edge of our own in another process.
type world struct {
	lane   lane
	dns    string
	caches map[string]*cache // alpha, bravo: nginx; charlie: varnish
	edge   *node
	origin *site
	node   *node
	as     answers
}

const foreignConfig = `node: steerer
vantage: loopback
roles: [dns, probe, admin]
state_dir: %[1]s
dns: {listen: ["%[2]s"]}
zones:
  - name: example.test
    ttl: 1m
    ns: [ns1.example.test, ns2.example.test]
    records:
      - {name: ns1, type: A, data: %[3]s1}
      - {name: ns2, type: A, data: %[3]s1}
      - {name: alpha.cdns, type: A, data: %[3]s11}
      - {name: bravo.cdns, type: A, data: %[3]s12}
      - {name: charlie.cdns, type: A, data: %[3]s13}
probing: {interval: 1s, timeout: 900ms, rise: 3, fall: 3}
backends:
  - name: alpha
    cname: alpha.cdns.example.test
    probe: {url: "http://%[3]s11:%[4]d/", host: cdn.example.test, expect: {body: origin}}
  - name: bravo
    cname: bravo.cdns.example.test
    probe: {url: "http://%[3]s12:%[4]d/", host: cdn.example.test, expect: {body: origin}}
  - name: charlie
    cname: charlie.cdns.example.test
    probe: {url: "http://%[3]s13:%[4]d/", host: cdn.example.test, expect: {body: origin}}
  - name: edge
    addresses: [%[3]s14]
    probe: {url: "http://%[3]s14:%[4]d/", host: cdn.example.test, expect: {body: origin}}
  - name: origin
    addresses: [%[3]s15]
    probe: {url: "http://%[3]s15:%[4]d/"}
pools:
  - name: cdns
    members:
      - {backend: alpha, weight: 70}
      - {backend: bravo, weight: 20}
      - {backend: charlie, weight: 10}
  - {name: edge, members: [{backend: edge, weight: 1}]}
  - {name: origin, members: [{backend: origin, weight: 1}]}
hosts:
  - {name: cdn.example.test, ttl: 1s, pools: [cdns, edge, origin], ramp: %[5]s}
admin: {listen: "%[6]s"}
`

const edgeConfig = `node: edge-1
roles: [edge, admin]
state_dir: %s
edge:
  listen: ["%s"]
  memory: 16MiB
  sites: [{hosts: [cdn.example.test], origin: "http://%s", stale_if_error: 1h}]
admin: {listen: "%s"}
`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{lane: newLane(), caches: map[string]*cache{}, as: answers{
		"alpha.cdns.example.test.": "alpha", "bravo.cdns.example.test.": "bravo",
		"charlie.cdns.example.test.": "charlie",
	}}
	l, dir := w.lane, t.TempDir()
	port := l.port(t)
	for name, n := range map[string]int{
		"alpha": 11, "bravo": 12, "charlie": 13, "edge": 14, "origin": 15,
	} {
		w.as[l.ip(n)] = name
	}
	origin := l.addr(15, port)
	w.origin = startSite(t, origin)
	w.caches["alpha"] = newNginx(t, "alpha", l.addr(11, port), origin)
	w.caches["bravo"] = newNginx(t, "bravo", l.addr(12, port), origin)
	w.caches["charlie"] = newVarnish(t, "charlie", l.addr(13, port), origin)
	for _, c := range w.caches {
		c.start(t)
	}
	edgeFile := filepath.Join(dir, "edge.yaml")
	write(t, edgeFile, fmt.Sprintf(edgeConfig, filepath.Join(dir, "edge-state"),
		l.addr(14, port), origin, l.addr(2, port)))
	w.edge = serve(t, "edge", edgeFile, l.addr(2, port))
	w.edge.ready(t)

	w.dns = l.addr(1, port)
	file := filepath.Join(dir, "pointsman.yaml")
	write(t, file, fmt.Sprintf(foreignConfig, filepath.Join(dir, "state"), w.dns, l.prefix, port,
		ramp, l.addr(3, port)))
	w.node = serve(t, "steerer", file, l.addr(3, port))
	w.node.ready(t)
	w.node.healthy(t, "alpha", "bravo", "charlie", "edge", "origin")
	return w
}

func TestForeignBackendsAreSteeredThroughAllTheirFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("the split is exact", w.splits)
	t.Run("dig agrees", w.digs)
	seen := watch(t, w.dns, w.as)
	t.Run("a stopped CDN leaves", func(t *testing.T) { w.stopAlpha(t, seen) })
	t.Run("it comes back gradually", func(t *testing.T) { w.startAlpha(t, seen) })
	t.Run("all fails, step by step", func(t *testing.T) { w.stopAll(t, seen) })
}

// near reports whether each share is what it should be, give or take a tolerance.
func near(t *testing.T, got counts, want map[string]float64, tolerance float64) {
	t.Helper()
	for b := range got {
		if _, ok := want[b]; !ok {
			t.Errorf("%s was named %d times, want never", b, got[b])
		}
	}
	for b, share := range want {
		if math.Abs(got.share(b)-share) > tolerance {
			t.Errorf("%s has %.2f%%, want %.2f%% ± %.1f", b, 100*got.share(b), 100*share,
				100*tolerance)
		}
	}
}

func (w *world) splits(t *testing.T) {
	began := time.Now()
	got := burst(t, w.dns, w.as, 10_000)
	t.Logf("10,000 answers in %v: %v", time.Since(began).Round(time.Millisecond), got)
	near(t, got, map[string]float64{"alpha": 0.7, "bravo": 0.2, "charlie": 0.1}, 0.01)
}

// digs asks with a program that shares no code with the server.
func (w *world) digs(t *testing.T) {
	dig := tool(t, "dig", "bind9-dnsutils")
	at := strings.LastIndex(w.dns, ":")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{steered, "A"}, []string{"status: NOERROR", "flags: qr aa", ".cdns.example.test."}},
		{[]string{steered, "A", "+tcp"}, []string{"status: NOERROR", "flags: qr aa", "(TCP)"}},
		{[]string{zone, "SOA"}, []string{"ANSWER: 1", "hostmaster.example.test."}},
		{[]string{zone, "NS", "+tcp"}, []string{"ANSWER: 2", "ns2.example.test."}},
		{[]string{"none." + zone, "A"}, []string{"status: NXDOMAIN", "AUTHORITY: 1"}},
		{[]string{"example.org.", "A"}, []string{"status: REFUSED"}},
	} {
		args := append([]string{"@" + w.dns[:at], "-p", w.dns[at+1:], "+tries=1", "+norecurse"},
			c.args...)
		out, err := exec.Command(dig, args...).CombinedOutput()
		if err != nil {
			t.Errorf("dig %v: %v\n%s", c.args, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("dig %v lacks %q:\n%s", c.args, want, out)
			}
		}
	}
}

// gone checks that backends are no longer named from 5 s after a moment on, and says when they
// were named for the last time.
func gone(t *testing.T, seen *watcher, since time.Time, backends ...string) {
	t.Helper()
	const limit = 5 * time.Second
	await(t, limit+3*time.Second, fmt.Sprint(backends, " are no longer named"), func() bool {
		last := seen.last(since, backends...)
		if last.IsZero() {
			last = since
		}
		return time.Since(last) > time.Second
	})
	if took := seen.last(since, backends...).Sub(since); took > limit {
		t.Errorf("%v were named until %v after they stopped, want at most %v", backends, took, limit)
	} else {
		t.Logf("%v were last named %v after they stopped", backends, took.Round(time.Millisecond))
	}
}

func (w *world) stopAlpha(t *testing.T, seen *watcher) {
	began := time.Now()
	w.caches["alpha"].stop(t, 5*time.Second)
	gone(t, seen, began, "alpha")
	got := burst(t, w.dns, w.as, 4000)
	t.Logf("4,000 answers without alpha: %v", got)
	near(t, got, map[string]float64{"bravo": 2. / 3, "charlie": 1. / 3}, 0.03)
}

// startAlpha checks both what the node aims at and what it answers on the way back.
func (w *world) startAlpha(t *testing.T, seen *watcher) {
	began := time.Now()
	if last := seen.last(began.Add(-time.Second), "alpha"); !last.IsZero() {
		t.Fatal("alpha was named before it came back")
	}
	w.caches["alpha"].start(t)
	var targets []float64
	await(t, 10*time.Second+2*ramp, "alpha has its full share", func() bool {
		target := w.target("alpha")
		if len(targets) == 0 || target != targets[len(targets)-1] {
			targets = append(targets, target)
		}
		return target > 0.699
	})
	full := time.Now()
	first := seen.first(began, "alpha")
	t.Logf("alpha was first named %v after its start, and had its full share %v later, in steps %.2f",
		first.Sub(began).Round(time.Millisecond), full.Sub(first).Round(time.Millisecond), targets)
	if !slices.IsSorted(targets) || len(targets) < 6 || targets[1] > 0.25 {
		t.Errorf("the shares aimed at are %.2f, want a slow rise", targets)
	}
	if took := full.Sub(first); took < ramp*3/4 || took > ramp*2 {
		t.Errorf("the rise took %v, want about %v", took, ramp)
	}
	before := 0.0
	for at := first; at.Before(full); at = at.Add(ramp / 4) {
		share := seen.between(at, at.Add(ramp/4)).share("alpha")
		t.Logf("from %v on: %.1f%%", at.Sub(first), 100*share)
		if at == first && share > 0.45 || share < before-0.1 {
			t.Errorf("alpha has %.2f of the answers %v after its return, %.2f before",
				share, at.Sub(first), before)
		}
		before = share
	}
	pass(ramp / 8)
	got := burst(t, w.dns, w.as, 2000)
	near(t, got, map[string]float64{"alpha": 0.7, "bravo": 0.2, "charlie": 0.1}, 0.04)
}

// target is the share that the node aims at for a backend.
func (w *world) target(backend string) float64 {
	s, _ := w.node.status()
	for _, h := range s.Hosts {
		for _, b := range h.Backends {
			if b.Backend == backend {
				return b.Target
			}
		}
	}
	return 0
}

func (w *world) stopAll(t *testing.T, seen *watcher) {
	cdns := []string{"alpha", "bravo", "charlie"}
	began := time.Now()
	for _, name := range cdns {
		w.caches[name].stop(t, 5*time.Second)
	}
	gone(t, seen, began, cdns...)
	near(t, burst(t, w.dns, w.as, 500), map[string]float64{"edge": 1}, 0)

	began = time.Now()
	w.edge.stop(t, 5*time.Second)
	gone(t, seen, began, "edge")
	near(t, burst(t, w.dns, w.as, 500), map[string]float64{"origin": 1}, 0)

	w.origin.stop()
	await(t, 10*time.Second, "the origin is given up", func() bool { return w.target("origin") == 0 })
	got := burst(t, w.dns, w.as, 2000)
	t.Logf("2,000 answers with everything down: %v", got)
	near(t, got, map[string]float64{"alpha": 0.7, "bravo": 0.2, "charlie": 0.1}, 0.04)

	began = time.Now()
	w.origin.start(t)
	gone(t, seen, began, cdns...)
	near(t, burst(t, w.dns, w.as, 500), map[string]float64{"origin": 1}, 0)
}
