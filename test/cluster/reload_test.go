package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/admin/api"
)

// generations make configs that can be told apart by any answer: every address in generation
// g begins with 10.g, and every second one steers by weight 0 where the others don't.
type generations struct {
	lane  lane
	port  int
	state string
	good  string // an address that accepts connections, for the probes

	mu      sync.Mutex // guards history
	history []reign
}

// reign is the time in which a generation may have been in force.
type reign struct {
	generation int
	from       time.Time // when its file was put in place
	to         time.Time // when a later one was seen in force; zero: not yet
}

const generationConfig = `node: reloader
roles: [dns, probe, admin]
state_dir: %[1]s
dns: {listen: ["%[2]s"]}
zones:
  - name: example.test
    ttl: 1m
    ns: [ns1.example.test, ns2.example.test]
    records:
      - {name: ns1, type: A, data: 10.%[3]d.0.53}
      - {name: ns2, type: A, data: 10.%[3]d.0.53}
      - {name: generation, type: TXT, data: '"%[3]d"'}
      - {name: alpha.g%[3]d, type: A, data: 10.%[3]d.0.1}
      - {name: bravo.g%[3]d, type: A, data: 10.%[3]d.0.2}
%[4]sprobing: {interval: 1s, timeout: 900ms}
backends:
  - {name: alpha, cname: alpha.g%[3]d.example.test, probe: {kind: tcp, address: "%[6]s"}}
  - {name: bravo, cname: bravo.g%[3]d.example.test, probe: {kind: tcp, address: "%[6]s"}}
  - {name: gamma, addresses: [10.%[3]d.0.3], probe: {kind: tcp, address: "%[6]s"}}
pools:
  - name: names
    members:
      - {backend: alpha, weight: %[5]d}
      - {backend: bravo, weight: %[3]d}
  - {name: addresses, members: [{backend: gamma, weight: 1}]}
hosts:
  - {name: cdn.example.test, ttl: 1s, pools: [names]}
  - {name: pool.example.test, ttl: 1s, pools: [addresses]}
%[7]sadmin: {listen: "%[8]s"}
`

// config is the content of the file of a generation from 1 to 255. In every second one
// moving.example.test is steered, in the others it is a static record.
func (g *generations) config(generation int) string {
	record := fmt.Sprintf("      - {name: moving, type: A, data: 10.%d.0.4}\n", generation)
	host := ""
	if generation%2 == 0 {
		record, host = "", "  - {name: moving.example.test, ttl: 1s, pools: [addresses]}\n"
	}
	return fmt.Sprintf(generationConfig, g.state, g.lane.addr(1, g.port), generation, record,
		alphaWeight(generation), g.good, host, g.lane.addr(2, g.port))
}

// alphaWeight drains alpha in every third generation.
func alphaWeight(generation int) int {
	if generation%3 == 0 {
		return 0
	}
	return 70
}

func (g *generations) begin(generation int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.history = append(g.history, reign{generation: generation, from: time.Now()})
}

// seen ends the reigns before the newest, which was seen in force.
func (g *generations) seen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.history); n > 1 {
		g.history[n-2].to = time.Now()
	}
}

// reigned reports whether a generation was in force at some time between two.
func (g *generations) reigned(generation int, from, to time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.history, func(r reign) bool {
		return r.generation == generation && !r.from.After(to) &&
			(r.to.IsZero() || !r.to.Before(from))
	})
}

// check says what is wrong with an answer under every config that may have been in force.
func (g *generations) check(q dns.Question, m *dns.Msg, sent, came time.Time) error {
	if m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Answer) == 0 {
		return fmt.Errorf("%s with %d records", dns.RcodeToString[m.Rcode], len(m.Answer))
	}
	generation, owner := 0, q.Name
	for _, rr := range m.Answer {
		if rr.Header().Name != owner {
			return fmt.Errorf("%q does not belong to %s", rr, owner)
		}
		var part int
		var err error
		switch rr := rr.(type) {
		case *dns.CNAME:
			owner = rr.Target
			_, err = fmt.Sscanf(strings.SplitN(owner, ".", 2)[1], "g%d.", &part)
		case *dns.A:
			part = int(rr.A.To4()[1])
			if rr.A.To4()[3] == 1 && alphaWeight(part) == 0 {
				err = errors.New("a backend with weight 0")
			}
		case *dns.TXT:
			part, err = strconv.Atoi(rr.Txt[0])
		}
		if err != nil {
			return fmt.Errorf("%q: %w", rr, err)
		}
		if generation != 0 && part != generation {
			return fmt.Errorf("two generations in one answer: %v", m.Answer)
		}
		generation = part
	}
	if !g.reigned(generation, sent, came) {
		return fmt.Errorf("generation %d was not in force: %v", generation, m.Answer[0])
	}
	return nil
}

// spoiled makes a file that must be refused out of a good one, and says how.
type spoiled struct {
	name  string
	spoil func(good string) string
	// at is a word of the spoilt line, "" when the file has no such line.
	at   string
	want string
}

// replaced replaces the first of a text's words.
func replaced(old, with string) func(string) string {
	return func(good string) string {
		if !strings.Contains(good, old) {
			panic("nothing to spoil: " + old)
		}
		return strings.Replace(good, old, with, 1)
	}
}

func (g *generations) bad() []spoiled {
	constant := func(s string) func(string) string { return func(string) string { return s } }
	return []spoiled{
		{"a typo", replaced("{backend: alpha, weight:", "{backend: alpha, wieght:"), "wieght",
			`pools\[0\]\.members\[0\]\.wieght: .*did you mean weight`},
		{"an empty file", constant(""), "", `:1:1: `},
		{"an unknown key", replaced("roles:", "colour: blue\nroles:"), "colour", `colour: unknown key`},
		{"a wrong type", replaced("{name: pool.example.test, ttl: 1s",
			"{name: pool.example.test, ttl: soon"), "soon", `hosts\[1\]\.ttl: `},
		{"a name that is not there", replaced("{backend: gamma", "{backend: gama"), "gama",
			`pools\[1\]\.members\[0\]\.backend: `},
		{"a negative weight", replaced("{backend: gamma, weight: 1", "{backend: gamma, weight: -1"),
			"-1", `pools\[1\]\.members\[0\]\.weight: `},
		{"a bad address", replaced("addresses: [10", "addresses: [1000"), "1000", `backends\[2\]\.`},
		{"binary", constant("\x00\x01\x02\xff"), "", `pointsman\.yaml:1:`},
		{"half a file", func(good string) string {
			return good[:strings.Index(good, "hosts:")] + "hosts: [{name: cdn.exam"
		}, "", `pointsman\.yaml:\d+:\d+: `},
		{"another port", replaced(fmt.Sprint(g.port, `"]}`), fmt.Sprint(g.port+1, `"]}`)), "",
			`dns\.listen.* needs? a restart`},
		{"another node", replaced("node: reloader", "node: other"), "", `\bnode\b.* needs? a restart`},
		{"another state folder", replaced("state_dir: ", "state_dir: /nowhere"), "",
			`state_dir.* needs? a restart`},
	}
}

func TestAHundredReloadsUnderLoadLoseAndFalsifyNothing(t *testing.T) {
	dir := t.TempDir()
	g := &generations{lane: newLane(), state: filepath.Join(dir, "state")}
	g.port = g.lane.port(t)
	g.good = startSite(t, g.lane.addr(9, g.port)).addr
	file := filepath.Join(dir, "pointsman.yaml")
	g.begin(1)
	write(t, file, g.config(1))
	n := serve(t, "reloader", file, g.lane.addr(2, g.port))
	n.ready(t)

	a := func(name string, qtype uint16) dns.Question {
		return dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}
	}
	l := &load{server: g.lane.addr(1, g.port), rate: 2000, check: g.check, questions: []dns.Question{
		a(steered, dns.TypeA), a("pool."+zone, dns.TypeA), a("moving."+zone, dns.TypeA),
		a("generation."+zone, dns.TypeTXT), a("ns1."+zone, dns.TypeA),
	}}
	l.start(t)
	r := newReloader(t, n, g, file)
	began := time.Now()
	pace := time.NewTicker(70 * time.Millisecond)
	defer pace.Stop()
	for i := range 100 {
		<-pace.C
		// Two thirds are good; each kind of bad one comes by signal and by API.
		if i%3 == 2 {
			bad := g.bad()
			r.refuse(bad[(i/6)%len(bad)], i%2 == 0)
		} else {
			r.accept(2+i, i%4 < 2)
		}
	}
	r.crowd(200)
	t.Logf("100 reloads in %v: %d taken, %d refused, slowest %v", time.Since(began),
		r.taken, r.refused, r.slowest)
	l.report(t)
	if rate := float64(l.sent()) / l.halted.Sub(began).Seconds(); rate < 1800 {
		t.Errorf("sent %.0f queries a second, want 2,000: the machine is too slow", rate)
	}
	n.stop(t, 10*time.Second)
}

// reloader changes a node's config file and makes the node read it.
type reloader struct {
	t              *testing.T
	node           *node
	generations    *generations
	file           string
	signal         func()
	taken, refused int
	slowest        time.Duration
}

func newReloader(t *testing.T, n *node, g *generations, file string) *reloader {
	return &reloader{t: t, node: n, generations: g, file: file,
		signal: func() { n.signal(syscall.SIGHUP) }}
}

// accept puts a generation in force, and waits until answers say so.
func (r *reloader) accept(generation int, signal bool) {
	r.t.Helper()
	r.generations.begin(generation)
	write(r.t, r.file, r.generations.config(generation))
	began := time.Now()
	if signal {
		r.signal()
	} else if _, err := r.reload(); err != nil {
		r.t.Fatalf("generation %d: %v", generation, err)
	}
	a := newAsker("udp", r.generations.lane.addr(1, r.generations.port))
	defer a.close()
	wait := func() bool {
		m, err := a.ask("generation."+zone, dns.TypeTXT)
		return err == nil && len(m.Answer) == 1 &&
			m.Answer[0].(*dns.TXT).Txt[0] == strconv.Itoa(generation)
	}
	if !signal && !wait() {
		r.t.Fatalf("generation %d is not in force after its reload succeeded", generation)
	}
	await(r.t, 10*time.Second, fmt.Sprint("generation ", generation, " is in force"), wait)
	r.generations.seen()
	r.slowest = max(r.slowest, time.Since(began))
	r.taken++
}

// crowd asks for one generation from all sides at once.
func (r *reloader) crowd(generation int) {
	r.t.Helper()
	r.generations.begin(generation)
	write(r.t, r.file, r.generations.config(generation))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			r.signal()
			if _, err := r.reload(); err != nil {
				r.t.Errorf("one of ten reloads at once: %v", err)
			}
		})
	}
	wg.Wait()
	r.generations.seen()
}

// refuse offers a bad file, and waits until the node says where it is bad.
func (r *reloader) refuse(bad spoiled, signal bool) {
	r.t.Helper()
	content := bad.spoil(r.generations.config(250))
	want := bad.want
	if bad.at != "" {
		before, _, _ := strings.Cut(content, bad.at)
		want = fmt.Sprintf(`pointsman\.yaml:%d:\d+: %s`, 1+strings.Count(before, "\n"), want)
	}
	pattern := regexp.MustCompile(want)
	offset := r.node.out.len()
	write(r.t, r.file, content)
	if signal {
		r.signal()
	} else {
		_, err := r.reload()
		var p *api.Problem
		switch {
		case !errors.As(err, &p):
			r.t.Fatalf("%s: reload returned %v, want a problem", bad.name, err)
		case !pattern.MatchString(p.Detail + "\n" + strings.Join(p.Findings, "\n")):
			r.t.Errorf("%s: reload returned %+v, want %q in it", bad.name, p, want)
		}
	}
	await(r.t, 10*time.Second, bad.name+" is refused in the log, with "+want, func() bool {
		return pattern.MatchString(r.node.out.since(offset))
	})
	if !strings.Contains(r.node.out.since(offset), "config refused, the old one serves on") {
		r.t.Errorf("%s: the log lacks the refusal", bad.name)
	}
	r.refused++
}

func (r *reloader) reload() (api.Reloaded, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.node.api.Reload(ctx)
}

func TestAConfigFileThatVanishedLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := &generations{lane: newLane(), state: filepath.Join(dir, "state")}
	g.port = g.lane.port(t)
	g.good = startSite(t, g.lane.addr(9, g.port)).addr
	file := filepath.Join(dir, "pointsman.yaml")
	g.begin(1)
	write(t, file, g.config(1))
	n := serve(t, "reloader", file, g.lane.addr(2, g.port))
	n.ready(t)
	r := newReloader(t, n, g, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := r.reload(); err == nil || !strings.Contains(err.Error(), "pointsman.yaml") {
		t.Errorf("reload without a file returned %v", err)
	}
	n.signal(syscall.SIGHUP)
	r.accept(2, true)
	r.accept(3, false)
	r.signal = func() {} // a changed file is enough, once it has been quiet for a moment
	r.accept(4, true)
}

func TestANodeWithoutSteeredNamesServesItsZone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := &generations{lane: newLane(), state: filepath.Join(dir, "state")}
	g.port = g.lane.port(t)
	g.good = g.lane.addr(9, g.port)
	with := g.config(1)
	without, _, _ := strings.Cut(with, "hosts:")
	without += with[strings.Index(with, "admin:"):]
	file := filepath.Join(dir, "pointsman.yaml")
	write(t, file, without)
	n := serve(t, "static", file, g.lane.addr(2, g.port))
	n.ready(t)
	a := newAsker("udp", g.lane.addr(1, g.port))
	defer a.close()
	for name, want := range map[string]int{"ns1." + zone: dns.RcodeSuccess,
		steered: dns.RcodeNameError, "example.org.": dns.RcodeRefused} {
		m, err := a.ask(name, dns.TypeA)
		if err != nil || m.Rcode != want {
			t.Errorf("%s: %v, %v, want %s", name, m, err, dns.RcodeToString[want])
		}
	}
	write(t, file, with)
	r := newReloader(t, n, g, file)
	if _, err := r.reload(); err == nil ||
		!strings.Contains(err.Error(), "hosts: a change (from none, or to none) needs a restart") {
		t.Errorf("steering without a restart: %v", err)
	}
	n.stop(t, 10*time.Second)
}
