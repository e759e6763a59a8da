package dnsserver

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/control"
)

// assignedTable is realTable with a resolver at each of the hosts that is assigned backends.
func assignedTable(t testing.TB, resolver netip.Addr) *steering.Table {
	t.Helper()
	in := realTable(t, 1).Inputs()
	in.Version++
	in.Guidance = control.Guidance{Epoch: 1, At: in.Now,
		Splits: map[control.Scope]control.Split{}, Traffic: map[control.Scope][]control.Assigned{}}
	for _, h := range in.Spec.Hosts {
		scope := control.Scope{Host: h.Name}
		in.Guidance.Splits[scope] = control.Split{"a": .25, "b": .25, "d": .25, "e": .25}
		if h.Pools[0] == "addresses" {
			in.Guidance.Splits[scope] = control.Split{"d": .5, "e": .5}
		}
		in.Guidance.Traffic[scope] = []control.Assigned{
			{Prefix: netip.PrefixFrom(resolver, 32), Cycle: []string{"e", "d", "d"},
				TTL: 5 * time.Second},
			{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Cycle: []string{"d"},
				TTL: 9 * time.Second}}
	}
	in.Shares.Splits = in.Guidance.Splits
	table, err := steering.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestBothPathsAnswerAHeavyResolverInTurnWithItsTTL(t *testing.T) {
	resolver := netip.MustParseAddr("192.0.2.53")
	table := assignedTable(t, resolver)
	w := newTwin(t, func(d Drawer) *state {
		return newState([]*Zone{mustZone(t, exampleConfig())}, table, d)
	})
	for range 50 {
		for _, c := range []struct {
			from   netip.Addr
			subnet string
			ttl    uint32
			scope  uint8
		}{{resolver, "", 5, 0}, {clients[0], "", 20, 0}, {resolver, "00011800c63364", 9, 24}} {
			m := new(dns.Msg)
			packet := plain(t, "hop.example.test.", dns.TypeA, c.subnet)
			if err := m.Unpack(w.ask(t, ask{packet: packet, from: c.from})); err != nil {
				t.Fatal(err)
			}
			if got := m.Answer[0].Header().Ttl; got != c.ttl {
				t.Fatalf("%s %s: TTL %d, want %d", c.from, c.subnet, got, c.ttl)
			}
			if opt := m.IsEdns0(); c.scope > 0 {
				if got := opt.Option[0].(*dns.EDNS0_SUBNET).SourceScope; got != c.scope {
					t.Fatalf("%s: scope %d, want %d", c.subnet, got, c.scope)
				}
			}
		}
	}
	if w.copied < 300 {
		t.Errorf("only %d of 450 answers came from the memo", w.copied)
	}
	q := newQuestions(w.oracle, 8)
	for range 3000 {
		if packet := q.packet(); packet != nil {
			w.ask(t, ask{packet: packet, from: resolver})
		}
	}
}

func TestATurnIsTakenByEachLookupWhateverThePath(t *testing.T) {
	resolver := netip.MustParseAddr("192.0.2.53")
	draws := steering.NewDraws(5)
	table := assignedTable(t, resolver)
	w := newTwin(t, func(Drawer) *state {
		return newState([]*Zone{mustZone(t, exampleConfig())}, table, draws)
	})
	got := ""
	for range 12 {
		in := ask{packet: plain(t, "hop.example.test.", dns.TypeA, ""), from: resolver}
		w.fast.out = make([]byte, maxPrepared)
		m := new(dns.Msg)
		if err := m.Unpack(w.fast.answer(in, w.with, time.Unix(1e9, 0))); err != nil {
			t.Fatal(err)
		}
		got += map[int]string{1: "e", 2: "d"}[len(m.Answer)]
	}
	if got != "ddeddeddedde" { // the first draw is 1
		t.Errorf("answered %s, want e, d, d in turn", got)
	}
}
