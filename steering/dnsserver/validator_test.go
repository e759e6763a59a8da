package dnsserver_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pointsman/steering"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnsserver"
)

// lookups is how many validated lookups run while weights change and a key is replaced.
var lookups = flag.Int("lookups", 4000, "validated lookups while weights change")

// secure is a signed zone on a server, with a clock that can be set.
type secure struct {
	*dnsserver.Server
	signer *dnssec.Signer
	table  *atomic.Pointer[steering.Table]
	clock  atomic.Int64 // seconds since 1970
}

func (s *secure) now() time.Time { return time.Unix(s.clock.Load(), 0) }

// secureTable steers names of the signed zone between backends of both kinds.
func secureTable(t testing.TB, version uint64, weights ...uint32) *steering.Table {
	t.Helper()
	addresses := func(list ...string) (out []netip.Addr) {
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	spec := &steering.Spec{
		Backends: []steering.Backend{
			{Name: "one", CNAME: "one.site.example.test."},
			{Name: "two", CNAME: "two.site.example.test."},
			{Name: "edge", Addresses: addresses("192.0.2.44", "192.0.2.45")},
			{Name: "dual", Addresses: addresses("192.0.2.46", "2001:db8::46")},
		},
		Pools: []steering.Pool{{Name: "all"}, {Name: "addresses", Members: []steering.Member{
			{Backend: "edge", Weight: weights[0]}, {Backend: "dual", Weight: weights[1]},
		}}},
	}
	for i, b := range spec.Backends {
		spec.Pools[0].Members = append(spec.Pools[0].Members,
			steering.Member{Backend: b.Name, Weight: weights[i]})
	}
	for name, pool := range map[string]string{"cdn.example.test.": "all",
		"*.tenants.example.test.": "all", "example.test.": "addresses",
		"far.down.low.example.test.": "addresses"} {
		spec.Hosts = append(spec.Hosts, steering.Host{Name: name, TTL: 20 * time.Second,
			Pools: []string{pool}, Stickiness: steering.Spread})
	}
	table, err := steering.Compile(steering.Inputs{Version: version, Now: time.Now(), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func startSecure(t testing.TB, policy dnssec.Policy) *secure {
	t.Helper()
	s := &secure{table: pointer(secureTable(t, 1, 1, 1, 1, 1))}
	// Real validators look at real clocks: three days ago, this one can go on for days while
	// all its signatures hold now.
	s.clock.Store(time.Now().Add(-72 * time.Hour).Unix())
	z, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{
		Name: "example.test", NS: []string{"ns1.example.test"},
		Records: []record{
			{Name: "ns1", Type: "A", Data: "127.0.0.1"},
			{Name: "www", Type: "CNAME", Data: "cdn.example.test"},
			{Name: "mail", Type: "A", Data: "192.0.2.25"},
			{Name: "one.site", Type: "A", Data: "192.0.2.1"},
			{Name: "one.site", Type: "AAAA", Data: "2001:db8::1"},
			{Name: "two.site", Type: "A", Data: "192.0.2.2"},
			{Name: "*.wild", Type: "A", Data: "192.0.2.8"},
			{Name: "a.deep", Type: "A", Data: "192.0.2.7"},
			{Name: "safe", Type: "NS", Data: "ns1.example.test"},
			{Name: "safe", Type: "DS", Data: "1 13 2 " + strings.Repeat("ab", 32)},
			{Name: "plain", Type: "NS", Data: "ns1.example.test"},
			{Name: "old", Type: "DNAME", Data: "site.example.test"},
		},
	})
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	// The delegated zone that is not signed lies on the same server.
	plain, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{Name: "plain.example.test",
		NS: []string{"ns1.example.test"}, Records: []record{{Name: "x", Type: "A", Data: "192.0.2.9"}}})
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	var err error
	s.signer, err = dnssec.New(dnssec.Config{Zone: "example.test.", Policy: policy,
		Folder: t.TempDir(), Now: s.now})
	if err != nil {
		t.Fatal(err)
	}
	if z, mistakes = z.SignedBy(s.signer); mistakes != nil {
		t.Fatal(mistakes)
	}
	s.Server = start(t, dnsserver.Config{Zones: []*dnsserver.Zone{z, plain}, Table: s.table.Load,
		Draws: steering.NewDraws(1), Now: s.now})
	return s
}

// anchor is the zone's DS record.
func (s *secure) anchor(t testing.TB) *dns.DS {
	t.Helper()
	ds, err := s.signer.DS()
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// tool finds a program that the tests need.
func tool(t testing.TB, name, debian string) string {
	t.Helper()
	for _, at := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing: install %s", name, debian)
	return ""
}

// unbound runs a validating resolver that knows the zone's server and key alone, and returns
// its address.
func unbound(t testing.TB, s *secure, options string) string {
	t.Helper()
	program := tool(t, "unbound", "unbound")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf(`server:
  directory: %q
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  verbosity: 1
  val-log-level: 2
  interface: 127.0.0.1
  port: %d
  num-threads: 2
  outgoing-range: 512
  do-ip6: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  local-zone: "test." nodefault
  trust-anchor: %q
%s
stub-zone:
  name: "example.test"
  stub-addr: 127.0.0.1@%d
remote-control:
  control-enable: no
`, dir, port, strings.Join(strings.Fields(s.anchor(t).String()), " "), options, s.Addrs()[0].Port())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "-d", "-c", conf)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // interrupted
		if t.Failed() {
			t.Logf("unbound says:\n%s", tail(log.String(), 4000))
		}
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	deadline := time.Now().Add(10 * time.Second)
	for {
		m := new(dns.Msg)
		m.SetQuestion("ns1.example.test.", dns.TypeA)
		// Over TCP, as lookups come: it may listen there later than for packets.
		c := &dns.Client{Net: "tcp", Timeout: 200 * time.Millisecond}
		a, _, err := c.Exchange(m, addr)
		if err == nil && a.Rcode == dns.RcodeSuccess {
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("unbound does not answer: %v", err)
		}
		if err != nil {
			<-time.After(20 * time.Millisecond)
		}
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// question is one that validators are asked, and what comes of it.
type question struct {
	name, qtype string
	rcode       int
	insecure    bool // not signed, and proved not to be
}

func questions() []question {
	const e, no = ".example.test.", dns.RcodeNameError
	return []question{
		{"mail" + e, "A", 0, false}, {"mail" + e, "TXT", 0, false}, {"mail" + e, "DS", 0, false},
		{"gone" + e, "A", no, false}, {"x.y.gone" + e, "TXT", no, false},
		{"-" + e, "A", no, false}, {"zzz" + e, "A", no, false},
		{"x.wild" + e, "A", 0, false}, {"x.y.wild" + e, "A", 0, false},
		{"x.wild" + e, "AAAA", 0, false}, {"wild" + e, "A", 0, false},
		{"deep" + e, "A", 0, false}, {"b.deep" + e, "A", no, false},
		{"down.low" + e, "A", 0, false}, {"low" + e, "AAAA", 0, false},
		{"far.down.low" + e, "A", 0, false}, {"far.down.low" + e, "AAAA", 0, false},
		{"far.down.low" + e, "MX", 0, false}, {"near.down.low" + e, "MX", no, false},
		{"cdn" + e, "A", 0, false}, {"cdn" + e, "AAAA", 0, false}, {"cdn" + e, "CNAME", 0, false},
		{"cdn" + e, "TXT", 0, false}, {"cdn" + e, "HTTPS", 0, false}, {"x.cdn" + e, "A", no, false},
		{"www" + e, "A", 0, false}, {"www" + e, "AAAA", 0, false},
		{"t1.tenants" + e, "A", 0, false}, {"t2.tenants" + e, "AAAA", 0, false},
		{"t3.tenants" + e, "TXT", 0, false}, {"tenants" + e, "A", 0, false},
		{"one.old" + e, "A", 0, false}, {"none.old" + e, "A", no, false},
		{"example.test.", "A", 0, false}, {"example.test.", "AAAA", 0, false},
		{"example.test.", "SOA", 0, false}, {"example.test.", "NS", 0, false},
		{"example.test.", "DNSKEY", 0, false}, {"example.test.", "CDS", 0, false},
		{"example.test.", "CAA", 0, false},
		{"safe" + e, "DS", 0, false}, {"plain" + e, "DS", 0, false},
		{"x.plain" + e, "A", 0, true}, {"y.plain" + e, "A", no, true},
	}
}

// resolve asks a resolver and says what is wrong with the answer; "" when nothing is.
func (q question) resolve(c *dns.Client, addr string) string {
	m := new(dns.Msg)
	m.SetQuestion(q.name, dns.StringToType[q.qtype])
	m.SetEdns0(1232, true)
	m.AuthenticatedData = true
	a, _, err := c.Exchange(m, addr)
	switch {
	case err != nil:
		return err.Error()
	case a.Rcode != q.rcode:
		return fmt.Sprintf("%s instead of %s", dns.RcodeToString[a.Rcode],
			dns.RcodeToString[q.rcode])
	case a.AuthenticatedData == q.insecure:
		return fmt.Sprintf("ad=%t", a.AuthenticatedData)
	}
	return ""
}

func signings() map[string]dnssec.Policy {
	return map[string]dnssec.Policy{
		"ECDSA, NSEC":                {},
		"Ed25519, two keys, NSEC3":   {Algorithm: dnssec.Ed25519, Split: true, NSEC3: true},
		"ECDSA, two keys, withdrawn": {Split: true, Withdraw: true},
	}
}

const noCaches = `  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  aggressive-nsec: no`

func TestUnboundValidatesEveryKindOfAnswer(t *testing.T) {
	for about, policy := range signings() {
		t.Run(about, func(t *testing.T) {
			s := startSecure(t, policy)
			addr := unbound(t, s, noCaches)
			c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
			for round := range 8 { // each variant of the steered names comes up
				for _, q := range questions() {
					if wrong := q.resolve(c, addr); wrong != "" {
						t.Errorf("round %d: %s %s: %s", round, q.name, q.qtype, wrong)
					}
				}
			}
		})
	}
}

// A resolver that answers from the NSEC records it has kept (RFC 8198) must still find all that
// the variants of a steered name have.
func TestUnboundKeepsDenialsOfOneVariantFromAnother(t *testing.T) {
	s := startSecure(t, dnssec.Policy{})
	addr := unbound(t, s, "  aggressive-nsec: yes\n  cache-max-negative-ttl: 3600")
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	for _, q := range []question{
		{"cdnx.example.test.", "A", dns.RcodeNameError, false}, // the link of cdn covers it
		{"cdn-.example.test.", "A", dns.RcodeNameError, false},
		{"cdn.example.test.", "A", 0, false},
		{"cdn.example.test.", "AAAA", 0, false},
		{"cdn.example.test.", "TXT", 0, false},
	} {
		if wrong := q.resolve(c, addr); wrong != "" {
			t.Errorf("%s %s: %s", q.name, q.qtype, wrong)
		}
	}
	m := new(dns.Msg)
	m.SetQuestion("cdn.example.test.", dns.TypeA)
	a, _, err := c.Exchange(m, addr)
	if err != nil || len(a.Answer) == 0 {
		t.Errorf("no address for a name that always has one: %v %v", a, err)
	}
}

func TestDelvValidatesEveryKindOfAnswer(t *testing.T) {
	program := tool(t, "delv", "bind9-dnsutils")
	for about, policy := range signings() {
		if policy.Withdraw {
			continue // as the first, for all that delv looks at, and delv is slow
		}
		t.Run(about, func(t *testing.T) {
			s := startSecure(t, policy)
			ds := s.anchor(t)
			file := filepath.Join(t.TempDir(), "anchor")
			text := fmt.Sprintf("trust-anchors { example.test. static-ds %d %d %d %q; };\n", ds.KeyTag,
				ds.Algorithm, ds.DigestType, ds.Digest)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var g errgroup.Group
			g.SetLimit(8) // delv waits more than it works
			for _, q := range questions() {
				if q.insecure || q.qtype == "CDS" {
					continue // delv asks but the server that it is given; it knows no CDS
				}
				g.Go(func() error {
					out, err := exec.Command(program, "@127.0.0.1", "-p",
						fmt.Sprint(s.Addrs()[0].Port()), "-a", file, "+root=example.test",
						"-q", q.name, "-t", q.qtype).CombinedOutput()
					if err != nil || !strings.Contains(string(out), "fully validated") {
						return fmt.Errorf("%s %s: %w\n%s", q.name, q.qtype, err, out)
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnboundFindsNothingBogusWhileWeightsChangeAndAKeyRolls(t *testing.T) {
	const changes, workers = 100, 8
	s := startSecure(t, dnssec.Policy{Split: true, ZoneKeyLifetime: 24 * time.Hour})
	addr := unbound(t, s, noCaches)
	before := s.signer.State()
	var done atomic.Int64
	var changed atomic.Bool
	var wrongs sync.Map
	var wg sync.WaitGroup
	all := questions()
	began := time.Now()
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			c := &dns.Client{Timeout: 5 * time.Second}
			for done.Add(1) <= int64(*lookups) || !changed.Load() {
				q := all[r.IntN(len(all))]
				if wrong := q.resolve(c, addr); wrong != "" {
					n, _ := wrongs.LoadOrStore(fmt.Sprint(q.name, " ", q.qtype, ": ", wrong), new(atomic.Int64))
					n.(*atomic.Int64).Add(1)
				}
			}
		})
	}
	// The steps of the key lie between the changes of weights: published, in use, old one gone.
	steps := map[int]time.Duration{20: 22 * time.Hour, 45: 3 * time.Hour, 75: 3 * time.Hour}
	r := rand.New(rand.NewPCG(2, 2))
	stepped := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range changes {
		for done.Load() < int64(i**lookups/changes) {
			<-tick.C
		}
		if ahead, ok := steps[i]; ok {
			// A resolver keeps keys for their TTL, which here is cut to what is left of a second.
			for time.Since(stepped) < 2*time.Second {
				<-tick.C
			}
			stepped = time.Now()
			s.clock.Add(int64(ahead / time.Second))
			if err := s.Resign(context.Background()); err != nil {
				t.Error(err)
			}
		}
		s.table.Store(secureTable(t, uint64(i+2), r.Uint32N(5), r.Uint32N(5), r.Uint32N(5), 1+r.Uint32N(5)))
	}
	changed.Store(true)
	wg.Wait()
	took := time.Since(began)
	wrongs.Range(func(k, n any) bool {
		t.Errorf("%d times %s", n.(*atomic.Int64).Load(), k)
		return true
	})
	after := s.signer.State()
	zsk := slices.IndexFunc(after.Keys, func(k dnssec.Key) bool { return k.Role == dnssec.ZSK })
	if len(after.Keys) != 2 || slices.ContainsFunc(before.Keys, func(k dnssec.Key) bool {
		return k.Tag == after.Keys[zsk].Tag
	}) {
		t.Errorf("the key was not replaced: %v, before %v", after, before)
	}
	t.Logf("%d validated lookups, %d changes of weights, one ZSK replaced, in %v", done.Load()-workers,
		changes, took.Round(time.Millisecond))
}
