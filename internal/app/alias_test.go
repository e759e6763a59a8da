package app_test

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/app"
)

// resolver is a recursive resolver on loopback that knows some addresses, and that can be dead.
type resolver struct {
	at    string
	mu    sync.Mutex // guards the rest
	knows map[string]string
	dead  bool
}

func newResolver(t *testing.T, knows map[string]string) *resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{at: pc.LocalAddr().String(), knows: knows}
	up := make(chan struct{})
	server := &dns.Server{PacketConn: pc, Handler: r, NotifyStartedFunc: func() { close(up) }}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.ActivateAndServe() })
	<-up
	t.Cleanup(func() { _ = server.Shutdown(); wg.Wait() })
	return r
}

func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	switch addr := r.knows[q.Question[0].Name]; {
	case r.dead:
		m.Rcode = dns.RcodeServerFailure
	case addr == "":
		m.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA,
			Class: dns.ClassINET, Ttl: 5}, A: net.ParseIP(addr)}}
	}
	_ = w.WriteMsg(m)
}

func (r *resolver) set(dead bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = dead
}

// flattened is a site whose apex is steered between two names, of which only our resolver knows.
func flattened(t *testing.T) (*site, *resolver) {
	t.Helper()
	s := newSite(t)
	r := newResolver(t, map[string]string{"one.cdn.invalid.": "127.0.0.1", "two.cdn.invalid.": "127.0.0.1",
		"static.cdn.invalid.": "192.0.2.99", "late.cdn.invalid.": "192.0.2.98"})
	s.config = s.with(`dns: {listen: ["127.0.0.1:0"]}`,
		`dns: {listen: ["127.0.0.1:0"], resolvers: ["`+r.at+`"]}`,
		"addresses: [192.0.2.1]", "cname: one.cdn.invalid", "addresses: [192.0.2.2]", "cname: two.cdn.invalid",
		s.one.URL, "http://one.cdn.invalid:"+port(t, s.one.URL)+"/",
		s.two.URL, "http://two.cdn.invalid:"+port(t, s.two.URL)+"/",
		"{name: cdn.example.test, ttl: 5s", "{name: example.test, ttl: 5s",
		"- {name: www, type: A, data: 192.0.2.80}", `- {name: www, type: ALIAS, data: static.cdn.invalid}
      - {name: www, type: TXT, data: text}`)
	s.write(s.config)
	return s, r
}

func port(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestTheStatusWarnsOfNamesThatWereNeverResolved(t *testing.T) {
	s, r := flattened(t)
	r.mu.Lock()
	r.dead = true
	r.mu.Unlock()
	n := s.start()
	const want = "name static.cdn.invalid. was never resolved: what needs it answers SERVFAIL"
	if got := n.status().Warnings; !slices.Contains(got, want) {
		t.Errorf("the status warns of %v", got)
	}
}

func TestAnApexIsSteeredByTheAddressesBehindNames(t *testing.T) {
	s, r := flattened(t)
	n := s.start()
	eventually(t, "the apex's answer", func() bool {
		return slices.Equal(n.ask("example.test."), []string{"127.0.0.1"})
	})
	eventually(t, "the ALIAS record's answer", func() bool {
		return slices.Equal(n.ask("www.example.test."), []string{"192.0.2.99"})
	})
	// The names exist for no resolver of this machine: the probes dial what clients are given.
	healthy := func(want map[string]string) func() bool {
		return func() bool {
			for _, b := range n.status().Backends {
				if state := want[b.Name]; state != "" && string(b.State) != state {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "health by those addresses", healthy(map[string]string{"one": "healthy", "two": "healthy"}))
	s.one.breakIt(true)
	eventually(t, "a failure", healthy(map[string]string{"one": "unhealthy", "two": "healthy"}))
	s.one.breakIt(false)

	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	r.set(true)
	n = s.start()
	if got := n.ask("example.test."); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("restarted without a resolver: %v", got)
	}
	if got := n.ask("www.example.test."); !slices.Equal(got, []string{"192.0.2.99"}) {
		t.Errorf("restarted without a resolver, the ALIAS record: %v", got)
	}
	eventually(t, "health without a resolver", healthy(map[string]string{"one": "healthy", "two": "healthy"}))
}

func TestAReloadFindsTheAddressesOfNewNamesFirst(t *testing.T) {
	s, _ := flattened(t)
	n := s.start()
	s.write(s.with("- {name: www, type: ALIAS, data: static.cdn.invalid}",
		"- {name: www, type: ALIAS, data: late.cdn.invalid}\n      - {name: gone, type: ALIAS, data: gone.cdn.invalid}"))
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := n.ask("www.example.test."); !slices.Equal(got, []string{"192.0.2.98"}) {
		t.Errorf("right after the reload: %v", got)
	}
	if got := n.ask("gone.example.test."); !slices.Equal(got, []string{"SERVFAIL"}) {
		t.Errorf("a name that nobody knows: %v", got)
	}
}

func TestMistakesAboutALIASRecordsHaveTheirPlace(t *testing.T) {
	s, _ := flattened(t)
	for title, c := range map[string]struct{ old, new, want string }{
		"beside an address": {"- {name: www, type: TXT, data: text}", "- {name: www, type: A, data: 192.0.2.1}",
			"node.yaml:13:16: zones[0].records[2].name: \"www.example.test\" has an ALIAS, zones[0].records[1]"},
		"no name":             {"data: static.cdn.invalid", "data: 192.0.2.1", "zones[0].records[1].data"},
		"of itself":           {"data: static.cdn.invalid", "data: www.example.test", "points at itself"},
		"below a delegation":  {"- {name: www, type: TXT, data: text}", "- {name: sub, type: NS, data: ns.sub.example.test}\n      - {name: ns.sub, type: A, data: 192.0.2.9}\n      - {name: x.sub, type: ALIAS, data: static.cdn.invalid}", "zones[0].records[4]"},
		"a mistake behind it": {"type: TXT, data: text", "type: A, data: 192.0.2.888", "zones[0].records[2]"},
		"never at the apex":   {"ramp: 0s", "ramp: 0s, flatten: never", "hosts[0].flatten"},
		"another resolver":    {`resolvers: ["`, `resolvers: ["ns.test:53", "`, "dns.resolvers[0]"},
	} {
		t.Run(title, func(t *testing.T) {
			s.write(s.with(c.old, c.new))
			if _, err := app.Check(s.options()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
