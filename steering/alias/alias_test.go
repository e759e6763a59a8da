package alias_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
	"pointsman/steering/alias"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standIn is a resolver on loopback that says what a test wants. Its answers are functions of a
// question that has been copied into the reply.
type standIn struct {
	at    netip.AddrPort
	mu    sync.Mutex // guards the rest
	says  map[string]func(w dns.ResponseWriter, reply *dns.Msg)
	asked map[string]int
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	pc, l := bind(t)
	at := netip.MustParseAddrPort(pc.LocalAddr().String())
	s := &standIn{at: at, says: map[string]func(dns.ResponseWriter, *dns.Msg){}, asked: map[string]int{}}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // runs after the shutdowns
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: l, Handler: s}} {
		up := make(chan struct{})
		server.NotifyStartedFunc = func() { close(up) }
		wg.Go(func() { _ = server.ActivateAndServe() })
		<-up
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return s
}

// bind opens UDP and TCP on one port, which for the second may be somebody else's.
func bind(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return pc, l
		}
		last = err
		_ = l.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// ServeDNS implements dns.Handler.
func (s *standIn) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	key := dns.Type(q.Question[0].Qtype).String() + " " + dns.CanonicalName(q.Question[0].Name)
	s.mu.Lock()
	s.asked[key]++
	say := s.says[key]
	s.mu.Unlock()
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	if say == nil {
		reply.Ns = []dns.RR{rr("test. 30 IN SOA ns.test. host.test. 1 2 3 4 30")}
		say = send
	}
	say(w, reply)
}

func send(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(m) }

func rr(text string) dns.RR {
	r, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return r
}

// answer says records.
func answer(records ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) {
		for _, text := range records {
			m.Answer = append(m.Answer, rr(text))
		}
		send(w, m)
	}
}

func code(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) { m.Rcode = rcode; send(w, m) }
}

func silence(dns.ResponseWriter, *dns.Msg) {}

func (s *standIn) say(key string, f func(dns.ResponseWriter, *dns.Msg)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says[key] = f
}

func (s *standIn) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[key]
}

func texts(a alias.Answer) string {
	var out []string
	for _, addr := range slices.Concat(a.V4, a.V6) {
		out = append(out, addr.String())
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(append(out, a.TTL.String()), " ")
}

func TestANameThatWasNeverResolvedIsToldAsSuch(t *testing.T) {
	s := newStandIn(t)
	var log strings.Builder
	r := alias.New(alias.Config{Servers: []netip.AddrPort{s.at},
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r.Add(t.Context(), []string{"www.cdn.test."})
	if !strings.Contains(log.String(), "level=ERROR msg=\"name never resolved: what needs it") ||
		strings.Contains(log.String(), "stay") {
		t.Errorf("told:\n%s", &log)
	}
}

func TestOneLookUpCopesWithWhatResolversSay(t *testing.T) {
	const name, a, aaaa = "www.cdn.test.", "A www.cdn.test.", "AAAA www.cdn.test."
	const alone, plain = "192.0.2.1 20s", "www.cdn.test. 20 IN A 192.0.2.1"
	type says map[string]func(dns.ResponseWriter, *dns.Msg)
	many := make([]string, 200)
	for i := range many {
		many[i] = "www.cdn.test. 20 IN A 192.0.2." + []string{"1", "2"}[i%2]
	}
	for title, c := range map[string]struct {
		says says
		want string
	}{
		"both families": {says{a: answer(plain, "www.cdn.test. 20 IN A 192.0.2.0"),
			aaaa: answer("www.cdn.test. 10 IN AAAA 2001:db8::1")}, "192.0.2.0 192.0.2.1 2001:db8::1 10s"},
		"a chain with the shortest TTL in its middle": {says{a: answer(
			"www.cdn.test. 300 IN CNAME x.test.", "x.test. 7 IN CNAME Y.test.", "y.test. 60 IN A 192.0.2.1")},
			"192.0.2.1 7s"},
		"a chain in the wrong order": {says{a: answer("y.test. 60 IN A 192.0.2.1",
			"x.test. 7 IN CNAME y.test.", "www.cdn.test. 300 IN CNAME x.test.")}, "192.0.2.1 7s"},
		"a chain that nobody has followed": {says{a: answer("www.cdn.test. 300 IN CNAME x.test."),
			"A x.test.": answer("x.test. 30 IN A 192.0.2.1")}, "192.0.2.1 30s"},
		"a chain that comes back": {says{a: answer("www.cdn.test. 300 IN CNAME x.test.",
			"x.test. 7 IN CNAME www.cdn.test.")}, ""},
		"a chain that comes back over two answers": {says{a: answer("www.cdn.test. 300 IN CNAME x.test."),
			"A x.test.": answer("x.test. 30 IN CNAME www.cdn.test.")}, ""},
		"an alias of itself": {says{a: answer("www.cdn.test. 300 IN CNAME www.cdn.test.")}, ""},
		"records of a stranger": {says{a: answer(plain, "other.test. 1 IN A 192.0.2.66",
			"www.cdn.test. 1 CH A 192.0.2.67")}, alone},
		"records of a stranger alone": {says{a: answer("other.test. 1 IN A 192.0.2.66")}, ""},
		"what a filter says":          {says{a: answer("www.cdn.test. 5 IN A 0.0.0.0")}, ""},
		"IPv4 as IPv6": {says{a: answer(plain),
			aaaa: answer("www.cdn.test. 5 IN AAAA ::ffff:192.0.2.9")}, alone},
		"a TTL of 0":              {says{a: answer("www.cdn.test. 0 IN A 192.0.2.1")}, "192.0.2.1 1s"},
		"a TTL of a week":         {says{a: answer("www.cdn.test. 604800 IN A 192.0.2.1")}, "192.0.2.1 168h0m0s"},
		"a TTL beyond all bounds": {says{a: answer("www.cdn.test. 4294967295 IN A 192.0.2.1")}, "192.0.2.1 1s"},
		"no such name":            {says{a: code(dns.RcodeNameError), aaaa: code(dns.RcodeNameError)}, ""},
		"SERVFAIL":                {says{a: code(dns.RcodeServerFailure), aaaa: code(dns.RcodeServerFailure)}, ""},
		"cut off over UDP": {says{a: func(w dns.ResponseWriter, m *dns.Msg) {
			if w.RemoteAddr().Network() == "udp" {
				m.Truncated = true
				send(w, m)
				return
			}
			answer(many...)(w, m)
		}}, "192.0.2.1 192.0.2.2 20s"},
		"cut off for ever": {says{a: func(w dns.ResponseWriter, m *dns.Msg) { m.Truncated = true; send(w, m) }}, ""},
		"guesses before the answer": {says{a: func(w dns.ResponseWriter, m *dns.Msg) {
			for _, spoil := range []func(*dns.Msg){
				func(m *dns.Msg) { m.Id++ },
				func(m *dns.Msg) { m.Question[0].Name = "other.test." },
				func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
				func(m *dns.Msg) { m.Question = nil },
				func(m *dns.Msg) { m.Response = false },
			} {
				forged := m.Copy()
				forged.Answer = []dns.RR{rr("www.cdn.test. 60 IN A 192.0.2.66")}
				spoil(forged)
				send(w, forged)
			}
			_, _ = w.Write([]byte("no message at all"))
			answer(plain)(w, m)
		}}, alone},
	} {
		t.Run(title, func(t *testing.T) {
			s := newStandIn(t)
			for key, f := range c.says {
				s.say(key, f)
			}
			r := alias.New(alias.Config{Servers: []netip.AddrPort{s.at}})
			r.Add(t.Context(), []string{name})
			if diff := cmp.Diff(c.want, texts(r.Snapshot()[name])); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheNextResolverIsAskedWhenOneIsOfNoUse(t *testing.T) {
	const a, aaaa = "A www.cdn.test.", "AAAA www.cdn.test."
	good := newStandIn(t)
	good.say(a, answer("www.cdn.test. 20 IN A 192.0.2.1"))
	closed := netip.MustParseAddrPort("127.0.0.1:1")
	for title, bad := range map[string]func(dns.ResponseWriter, *dns.Msg){
		"silent": silence, "broken": code(dns.RcodeServerFailure), "not for us": code(dns.RcodeRefused),
		"another's": func(w dns.ResponseWriter, m *dns.Msg) {
			m.Id++
			answer("www.cdn.test. 20 IN A 192.0.2.66")(w, m)
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			first := newStandIn(t)
			first.say(a, bad)
			first.say(aaaa, bad)
			r := alias.New(alias.Config{Servers: []netip.AddrPort{closed, first.at, good.at}})
			r.Add(t.Context(), []string{"www.cdn.test."})
			if got := texts(r.Snapshot()["www.cdn.test."]); got != "192.0.2.1 20s" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// running runs a resolver until the test ends or stop is called.
func running(t *testing.T, c alias.Config) (r *alias.Resolver, stop func()) {
	t.Helper()
	r = alias.New(c)
	r.Load(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return r, stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s never came", what)
		}
	}
}

// clock is one that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func TestWhatWasGoodStaysThroughEveryFailureAndOverARestart(t *testing.T) {
	const name, a, aaaa = "www.cdn.test.", "A www.cdn.test.", "AAAA www.cdn.test."
	s := newStandIn(t)
	s.say(a, answer("www.cdn.test. 20 IN A 192.0.2.1"))
	var c clock
	kept, err := boltstore.Open(boltstore.Config{Path: t.TempDir() + "/state/x.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	registry := prometheus.NewPedanticRegistry()
	config := alias.Config{Servers: []netip.AddrPort{s.at}, Store: kept, Now: c.now, Registerer: registry}
	r, stop := running(t, config)
	r.SetTargets([]string{name, "never.cdn.test."})
	eventually(t, "the first answer", func() bool { return texts(r.Snapshot()[name]) == "192.0.2.1 20s" })

	for _, bad := range []int{dns.RcodeServerFailure, dns.RcodeNameError, dns.RcodeSuccess} {
		before := s.count(a)
		s.say(a, code(bad))
		s.say(aaaa, code(bad))
		eventually(t, "the next look-up", func() bool {
			c.forward(time.Minute)
			r.SetTargets([]string{name, "never.cdn.test."}) // wakes Run, which sleeps by the real clock
			return s.count(a) > before+1
		})
		if got := texts(r.Snapshot()[name]); got != "192.0.2.1 20s" {
			t.Errorf("after %s: %q", dns.RcodeToString[bad], got)
		}
	}
	if n, err := testutil.GatherAndCount(registry, "pointsman_alias_age_seconds"); n != 1 || err != nil {
		t.Errorf("%d ages, want that of the one name that was resolved", n)
	}
	if age := c.now().Sub(r.Snapshot()[name].At); age < time.Minute {
		t.Errorf("the answer looks %v old", age)
	}
	stop()

	s.say(a, silence)
	s.say(aaaa, silence)
	config.Registerer = nil
	heard := make(chan alias.Snapshot, 10)
	config.OnChange = func(s alias.Snapshot) { heard <- s }
	r, _ = running(t, config)
	r.SetTargets([]string{name, "new.cdn.test."})
	if got := texts(r.Snapshot()[name]); got != "192.0.2.1 20s" {
		t.Errorf("after a restart without a resolver: %q", got)
	}
	if got := texts((<-heard)[name]); got != "192.0.2.1 20s" {
		t.Errorf("told %q", got)
	}
	s.say(a, answer("www.cdn.test. 30 IN A 192.0.2.2"))
	s.say(aaaa, answer("www.cdn.test. 30 IN AAAA 2001:db8::2"))
	eventually(t, "the resolver's return", func() bool {
		c.forward(time.Minute)
		r.SetTargets([]string{name})
		return texts(r.Snapshot()[name]) == "192.0.2.2 2001:db8::2 30s"
	})
}

func TestANameThatIsNoLongerWantedIsForgotten(t *testing.T) {
	s := newStandIn(t)
	s.say("A www.cdn.test.", answer("www.cdn.test. 20 IN A 192.0.2.1"))
	registry := prometheus.NewPedanticRegistry()
	r := alias.New(alias.Config{Servers: []netip.AddrPort{s.at}, Registerer: registry})
	r.Add(t.Context(), []string{"www.cdn.test."})
	r.SetTargets(nil)
	if got := r.Snapshot(); len(got) != 0 {
		t.Errorf("left are %v", got)
	}
	for _, metric := range []string{"pointsman_alias_age_seconds", "pointsman_alias_lookups_total"} {
		if n, err := testutil.GatherAndCount(registry, metric); n != 0 || err != nil {
			t.Errorf("%s has %d series left, %v", metric, n, err)
		}
	}
}

func TestRecordsThatCanNotBeReadAreAsGoodAsNone(t *testing.T) {
	kept, err := boltstore.Open(boltstore.Config{Path: t.TempDir() + "/state/x.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	if _, err := kept.Put(t.Context(), "node/addresses", []byte("{no"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r := alias.New(alias.Config{Store: kept, Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}})
	r.Load(t.Context())
	r.SetTargets([]string{"www.cdn.test."})
	if got := r.Snapshot(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
