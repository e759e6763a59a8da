package nodes_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

var (
	queries = flag.Int("queries", 100_000, "queries of the fault run, at least")
	clocks  = flag.Bool("clocks", false, "with jumps of the wall clock in the fault run: builds "+
		"the program and Go's library anew, which takes minutes")
)

// TestNoFaultMakesAnAnswerWrong asks two nodes without a pause while one fault after the other
// befalls them: whatever is answered must be right, and each query must get an answer from one.
func TestNoFaultMakesAnAnswerWrong(t *testing.T) {
	t.Parallel()
	r := newFaultRun(t)
	asking, end := context.WithCancel(t.Context())
	defer end()
	var clients sync.WaitGroup
	clients.Go(func() { r.asker.run(asking, 4) })
	defer clients.Wait()
	defer end()
	rounds := 0
	for ; rounds == 0 || r.asker.answered.Load() < uint64(*queries); rounds++ {
		for _, f := range r.faults() {
			before := r.asker.answered.Load()
			f.befall()
			t.Logf("%-28s %9d answers", f.name, r.asker.answered.Load()-before)
			if len(r.asker.bad) > 0 {
				break
			}
		}
		r.healed()
		if t.Failed() || len(r.asker.bad) > 0 {
			break
		}
	}
	end()
	clients.Wait()
	t.Logf("%d rounds of faults: %d answers (%d over TCP), %d queries asked again, %d bad", rounds,
		r.asker.answered.Load(), r.asker.overTCP.Load(), r.asker.again.Load(), len(r.asker.bad))
	for _, b := range r.asker.bad[:min(20, len(r.asker.bad))] {
		t.Error(b)
	}
}

type faultRun struct {
	*fleet
	a, b    *node
	server  *process // Redis
	program string
	asker   *asker
	weight  int // of the last reload
}

type namedFault struct {
	name   string
	befall func()
}

func newFaultRun(t *testing.T) *faultRun {
	r := &faultRun{fleet: newFleet(t), program: binary, weight: 40}
	if *clocks {
		r.program = withClock(t)
	}
	r.server = redis(t, r.redis, "")
	r.a, r.b = r.prepareFaulty("a", 1), r.prepareFaulty("b", 2)
	r.begin(r.a)
	r.begin(r.b)
	var v4, v6 []string
	for i := range backends {
		v4 = append(v4, fmt.Sprintf("192.0.2.%d", i+1))
		v6 = append(v6, fmt.Sprintf("2001:db8::%d", i+1))
	}
	near := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24,
		Address: net.IPv4(198, 51, 100, 0).To4()}
	r.asker = &asker{nodes: []string{r.a.dns, r.b.dns}, patience: 10 * time.Second,
		questions: []question{
			ask("cdn.example.test.", dns.TypeA, names(v4...)),
			ask("cdn.example.test.", dns.TypeAAAA, names(v6...)),
			ask("cdn.example.test.", dns.TypeA, names(v4...), near),
			ask("named.example.test.", dns.TypeA, names("x.cdn.test.", "y.cdn.test.")),
			ask("www.example.test.", dns.TypeA, names("192.0.2.80")),
			ask("none.example.test.", dns.TypeA, denied(dns.RcodeNameError, "example.test.")),
			ask("cdn.other.test.", dns.TypeA, denied(dns.RcodeRefused, "")),
		}}
	return r
}

// prepareFaulty is prepare with both kinds of address, a place, and backends with names.
func (r *faultRun) prepareFaulty(name string, octet int) *node {
	n := r.prepare(name, octet)
	for i := range backends {
		v4 := fmt.Sprintf("[192.0.2.%d]", i+1)
		n.rewrite(v4, fmt.Sprintf("[192.0.2.%d, \"2001:db8::%d\"]", i+1, i+1))
	}
	n.rewrite("ns: [ns.example.net]}", "ns: [ns.example.net], "+
		"records: [{name: www, type: A, data: 192.0.2.80}]}")
	probe := fmt.Sprintf("probe: {url: \"%s/%s/", r.site.URL, name)
	n.rewrite("pools:\n", "  - {name: x, cname: x.cdn.test, "+probe+"one\"}}\n"+
		"  - {name: y, cname: y.cdn.test, "+probe+"two\"}}\n"+
		"pools:\n  - {name: near, members: [{backend: four}]}\n"+
		"  - {name: named, members: [{backend: x}, {backend: y}]}\n")
	n.rewrite("pools: [cdns], ramp: 2s}", "pools: [cdns], ramp: 2s, "+
		"places: [{name: near, prefixes: [198.51.100.0/24], pools: [near, cdns]}]}\n"+
		"  - {name: named.example.test, ttl: 1s, pools: [named]}")
	n.setClock(0)
	return n
}

// begin starts a node and waits until it answers.
func (r *faultRun) begin(n *node) {
	r.t.Helper()
	n.process = launch(r.t, n.vantage, []string{"ACME_TOKEN=" + token, clockEnv + "=" + n.clock()},
		r.program, "serve", "--config", n.config)
	await(r.t, 30*time.Second, n.vantage+" answers", func() bool {
		select {
		case <-n.done:
			r.t.Fatalf("%s ended at its start:\n%s", n.vantage, n.out.String())
		default:
		}
		_, err := query(n.dns, "www.example.test.", dns.TypeA)
		return err == nil
	})
}

// faults are all of them, in the order in which they befall.
func (r *faultRun) faults() []namedFault {
	list := []namedFault{
		{"nothing", func() { pause(time.Second) }},
		{"a node killed", func() { r.a.kill(); r.begin(r.a) }},
		{"a node stopped", func() { r.b.signal(syscall.SIGTERM); <-r.b.done; r.begin(r.b) }},
		{"configs, good and bad", r.reloads},
		{"the store hangs", func() {
			r.server.signal(syscall.SIGSTOP)
			pause(2 * time.Second)
			r.server.signal(syscall.SIGCONT)
		}},
		{"the store dies", func() {
			r.server.kill()
			pause(2 * time.Second)
			r.server = redis(r.t, r.redis, "")
		}},
		{"all backends fail", func() { r.breakAll(true); pause(3 * time.Second); r.breakAll(false) }},
		{"the disks are full", func() {
			r.disks(true)
			r.a.kill()
			r.begin(r.a)
			r.disk(r.a, true)
			pause(time.Second)
			r.disks(false)
		}},
	}
	if *clocks {
		list = append(list, namedFault{"clocks jump by a day", func() {
			for _, days := range [][2]int{{1, 0}, {1, -1}, {-1, 1}, {0, 0}} {
				r.jump(days[0], days[1])
				pause(2 * time.Second)
			}
		}})
	}
	return append(list, namedFault{"all at once", r.allAtOnce})
}

// allAtOnce leaves a node nothing but what it has in memory, and the other not even that.
func (r *faultRun) allAtOnce() {
	r.server.kill()
	r.disks(true)
	r.jump(1, -1)
	r.breakAll(true)
	pause(2 * time.Second)
	r.a.kill()
	r.begin(r.a)
	r.disk(r.a, true)
	pause(2 * time.Second)
	r.disks(false)
	r.jump(0, 0)
	r.server = redis(r.t, r.redis, "")
	r.breakAll(false)
}

// reloads gives both nodes other weights, then a config that must be refused.
func (r *faultRun) reloads() {
	was := fmt.Sprintf("backend: one, weight: %d}", r.weight)
	r.weight = 100 - r.weight
	for _, n := range []*node{r.a, r.b} {
		n.rewrite(was, fmt.Sprintf("backend: one, weight: %d}", r.weight))
		n.cli(0, "reload")
		n.rewrite("kind: redis", "kind: paper")
		n.cli(2, "reload")
		n.rewrite("kind: paper", "kind: redis")
		n.cli(0, "reload")
	}
}

func (r *faultRun) breakAll(broken bool) {
	for _, v := range []string{"a", "b"} {
		for _, b := range backends {
			r.breakFor(v, b.name, broken)
		}
	}
}

// jump sets the clocks of both nodes off by days.
func (r *faultRun) jump(a, b int) {
	r.a.setClock(a * 86400)
	r.b.setClock(b * 86400)
}

func (r *faultRun) disks(full bool) {
	r.disk(r.a, full)
	r.disk(r.b, full)
}

// disk lets no file of a node grow, or even be written, as a full disk would.
func (r *faultRun) disk(n *node, full bool) {
	r.t.Helper()
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		r.t.Fatal(err)
	}
	limit.Cur = limit.Max
	if full {
		limit.Cur = 0
	}
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		r.t.Fatal(err)
	}
}

// healed waits until both nodes are what they were: they live, know each other, and answer with
// all backends in full.
func (r *faultRun) healed() {
	r.t.Helper()
	want := (r.weight*100 + (r.weight+60)/2) / (r.weight + 60)
	await(r.t, time.Minute, "both nodes are whole again", func() bool {
		for _, n := range []*node{r.a, r.b} {
			ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
			st, err := n.api.Status(ctx)
			cancel()
			if err != nil || !st.Ready || !st.Store.Reachable || n.target("one") != want {
				return false
			}
		}
		return true
	})
	for _, n := range []*node{r.a, r.b} {
		if _, err := os.Stat("/proc/" + fmt.Sprint(n.cmd.Process.Pid)); err != nil {
			r.t.Errorf("%s is gone: %s", n.vantage, cmp.Or(strings.TrimSpace(n.out.String()), "silent"))
		}
	}
}
