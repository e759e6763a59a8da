package dnsserver

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

// flatSpec steers the apex and a name between two CDNs, both by their addresses.
func flatSpec() *steering.Spec {
	host := func(name string) steering.Host {
		return steering.Host{Name: name, TTL: 20 * time.Second, Pools: []string{"cdns"}, Flatten: true}
	}
	return &steering.Spec{
		Backends: []steering.Backend{
			{Name: "a", CNAME: "a.cdn.invalid.", HTTPS: &steering.HTTPS{Priority: 1, Hints: true}},
			{Name: "b", CNAME: "b.cdn.invalid."},
		},
		Pools: []steering.Pool{{Name: "cdns", Members: []steering.Member{
			{Backend: "a", Weight: 1}, {Backend: "b", Weight: 1}}}},
		Hosts: []steering.Host{host("example.test."), host("flat.example.test.")},
	}
}

func flatTable(t *testing.T, spec *steering.Spec, version uint64, known map[string]string) *steering.Table {
	t.Helper()
	in := steering.Inputs{Version: version, Now: time.Unix(1e9, 0), Spec: spec,
		Addresses: steering.Addresses{}}
	for name, addr := range known {
		in.Addresses[name] = steering.Resolved{V4: []netip.Addr{netip.MustParseAddr(addr)}, TTL: time.Minute}
	}
	table, err := steering.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// flatServer serves a signed zone whose table tests change.
func flatServer(t *testing.T, first *steering.Table) (*Server, *atomic.Pointer[steering.Table], func() int) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	counts, err := dnssec.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dnssec.New(dnssec.Config{Zone: "example.test.", Folder: t.TempDir(), Metrics: counts})
	if err != nil {
		t.Fatal(err)
	}
	table := new(atomic.Pointer[steering.Table])
	table.Store(first)
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Table: table.Load, Draws: constant(0),
		Zones: []*Zone{mustZone(t, exampleConfig()).signedBy(signer)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, table, func() int {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "pointsman_dnssec_signatures_total" {
				return int(f.GetMetric()[0].GetCounter().GetValue())
			}
		}
		return 0
	}
}

// told asks a state for a set, and returns its data if the signature holds, or the code.
func told(t *testing.T, st *state, name string, qtype uint16) string {
	t.Helper()
	query := func(name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion(name, qtype)
		m.SetEdns0(1232, true)
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := reply(ask{packet: packet, from: netip.MustParseAddr("192.0.2.1"), tcp: true}, 1232,
			st, time.Now())
		a := new(dns.Msg)
		if err != nil || a.Unpack(out) != nil {
			t.Fatal(err)
		}
		return a
	}
	a := query(name, qtype)
	if a.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[a.Rcode]
	}
	if len(a.Answer) < 2 {
		return "no data"
	}
	sig := a.Answer[len(a.Answer)-1].(*dns.RRSIG)
	key := query("example.test.", dns.TypeDNSKEY).Answer[0].(*dns.DNSKEY)
	if err := sig.Verify(key, a.Answer[:len(a.Answer)-1]); err != nil {
		return "bogus: " + err.Error()
	}
	text := ""
	for _, rr := range a.Answer[:len(a.Answer)-1] {
		text += rr.String()[len(rr.Header().String()):] + "|"
	}
	return text
}

func TestAChangeOfAddressesSignsTheSetsThatChangedAndNoOthers(t *testing.T) {
	spec := flatSpec()
	known := map[string]string{"a.cdn.invalid.": "192.0.2.1", "b.cdn.invalid.": "192.0.2.2"}
	s, table, signed := flatServer(t, flatTable(t, spec, 1, known))
	if got := told(t, s.load(), "example.test.", dns.TypeA); got != "192.0.2.1|" {
		t.Fatalf("first: %s", got)
	}
	before := signed()
	known["a.cdn.invalid."] = "192.0.2.77"
	table.Store(flatTable(t, spec, 2, known))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.keepSigned(ctx); err != nil {
			t.Error(err)
		}
	})
	// Nobody asks: the table must come into force all the same.
	for end := time.Now().Add(20 * time.Second); s.current.Load().table != table.Load(); {
		if <-time.After(5 * time.Millisecond); time.Now().After(end) {
			t.Fatal("the new addresses never came into force")
		}
	}
	cancel()
	wg.Wait()
	for _, name := range []string{"example.test.", "flat.example.test."} {
		if got := told(t, s.load(), name, dns.TypeA); got != "192.0.2.77|" {
			t.Errorf("%s A is %s", name, got)
		}
		if got := told(t, s.load(), name, dns.TypeHTTPS); got != `1 . ipv4hint="192.0.2.77"|` {
			t.Errorf("%s HTTPS is %s", name, got)
		}
	}
	if n := signed() - before; n != 4 { // A and HTTPS of two names
		t.Errorf("%d signatures were made for 4 new sets", n)
	}
}

func TestWithoutAnyAddressAFlattenedNameHasNoAnswerAndIsNotDenied(t *testing.T) {
	s, table, _ := flatServer(t, flatTable(t, flatSpec(), 1, nil))
	for name, types := range map[string]map[uint16]string{
		"example.test.":      {dns.TypeA: "SERVFAIL", dns.TypeAAAA: "SERVFAIL", dns.TypeTXT: `"v=spf1 -all"|`},
		"flat.example.test.": {dns.TypeA: "SERVFAIL", dns.TypeHTTPS: "SERVFAIL", dns.TypeCNAME: "SERVFAIL"},
	} {
		for qtype, want := range types {
			if got := told(t, s.load(), name, qtype); got != want {
				t.Errorf("%s %s is %s, want %s", name, dns.Type(qtype), got, want)
			}
		}
	}
	if got := s.current.Load().signed["example.test."].Link("flat.example.test."); got == nil {
		t.Error("the chain denies a name that is only waiting for its address")
	}
	table.Store(flatTable(t, flatSpec(), 2, map[string]string{"b.cdn.invalid.": "192.0.2.2"}))
	if err := s.resign(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := told(t, s.load(), "flat.example.test.", dns.TypeA); got != "192.0.2.2|" {
		t.Errorf("once it is resolved: %s", got)
	}
	if got := told(t, s.load(), "flat.example.test.", dns.TypeAAAA); got != "no data" {
		t.Errorf("the family that it lacks: %s", got)
	}
}

func TestAFlattenedNameMayStandAtTheApexAndBesideOtherRecords(t *testing.T) {
	z := mustZone(t, exampleConfig())
	named := []string{"a.cdn.invalid."}
	for host, want := range map[string]int{"example.test.": 0, "there.wild.example.test.": 0,
		"mail.example.test.": 2, "www.example.test.": 1, "new.example.test.": 0} {
		got := CheckHosts([]*Zone{z}, []SteeredName{{Host: host, Targets: named, Flattened: true}})
		if len(got) != want {
			t.Errorf("%s: %v, want %d mistakes", host, got, want)
		}
	}
	loop := []SteeredName{{Host: "example.test.", Targets: []string{"www.example.test."}, Flattened: true},
		{Host: "cdn.example.test.", Targets: []string{"example.test."}}}
	if got := CheckHosts([]*Zone{z}, loop); len(got) != 2 {
		t.Errorf("a loop through a flattened name: %v", got)
	}
}
