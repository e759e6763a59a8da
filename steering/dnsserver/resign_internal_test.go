package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

// moody is a signer that counts, and that can fail.
type moody struct {
	*dnssec.Signer
	signs atomic.Int64
	fails atomic.Bool
}

var errMood = errors.New("not today")

func (m *moody) Sign(ctx context.Context, z *dnssec.Zone) (*dnssec.Signed, error) {
	m.signs.Add(1)
	if m.fails.Load() {
		return nil, errMood
	}
	return m.Signer.Sign(ctx, z)
}

// steeredHosts compiles a table of some hosts with backends whose targets end alike.
func steeredHosts(t testing.TB, version uint64, hosts int, weight uint32, suffix string) *steering.Table {
	t.Helper()
	spec := &steering.Spec{Pools: []steering.Pool{{Name: "all"}}}
	for i := range 5 {
		name := fmt.Sprintf("b%d", i)
		spec.Backends = append(spec.Backends, steering.Backend{Name: name, CNAME: name + suffix})
		spec.Pools[0].Members = append(spec.Pools[0].Members, steering.Member{Backend: name, Weight: weight})
		weight++
	}
	for i := range hosts {
		spec.Hosts = append(spec.Hosts, steering.Host{Name: fmt.Sprintf("h%d.example.test.", i),
			TTL: 20 * time.Second, Pools: []string{"all"}, Stickiness: steering.Spread})
	}
	table, err := steering.Compile(steering.Inputs{Version: version, Now: time.Unix(1e9, 0), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// moodyServer serves a signed zone with a table that tests change.
func moodyServer(t testing.TB, hosts int) (*Server, *moody, *atomic.Pointer[steering.Table]) {
	t.Helper()
	signer, err := dnssec.New(dnssec.Config{Zone: "example.test.", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m := &moody{Signer: signer}
	table := new(atomic.Pointer[steering.Table])
	table.Store(steeredHosts(t, 1, hosts, 1, ".old.invalid."))
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Table: table.Load, Draws: constant(0),
		Zones: []*Zone{mustZone(t, exampleConfig()).signedBy(m)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, m, table
}

// target asks for the CNAME of a steered name and returns it, if its signature holds.
func target(t testing.TB, st *state) string {
	t.Helper()
	ask := func(name string, qtype uint16) *dns.Msg {
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
	a := ask("h0.example.test.", dns.TypeCNAME)
	if a.Rcode != dns.RcodeSuccess || len(a.Answer) != 2 {
		return fmt.Sprint("wrong: ", a)
	}
	keys := ask("example.test.", dns.TypeDNSKEY)
	if err := a.Answer[1].(*dns.RRSIG).Verify(keys.Answer[0].(*dns.DNSKEY), a.Answer[:1]); err != nil {
		return "bogus: " + err.Error()
	}
	return a.Answer[0].(*dns.CNAME).Target
}

func TestAChangeOfWeightsSignsNothing(t *testing.T) {
	s, m, table := moodyServer(t, 3)
	before := m.signs.Load()
	for version := range uint64(50) {
		table.Store(steeredHosts(t, version+2, 3, uint32(version), ".old.invalid."))
		if got := target(t, s.load()); got[2:] != ".old.invalid." {
			t.Fatal(got)
		}
		if s.current.Load().table != table.Load() {
			t.Fatal("the new table is not in force")
		}
	}
	if n := m.signs.Load(); n != before {
		t.Errorf("signed %d times", n-before)
	}
}

func TestATableWithNewAnswersWaitsForItsSignatures(t *testing.T) {
	s, _, table := moodyServer(t, 200)
	table.Store(steeredHosts(t, 2, 200, 1, ".new.invalid."))
	if got := target(t, s.load()); got != "b0.old.invalid." {
		t.Errorf("before anything was signed: %s", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.keepSigned(ctx); err != nil {
			t.Error(err)
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for got := ""; got != "b0.new.invalid."; {
		if got = target(t, s.load()); got != "b0.old.invalid." && got != "b0.new.invalid." {
			t.Fatal(got)
		}
		if time.Now().After(deadline) {
			t.Fatal("the new table never came into force")
		}
	}
	cancel()
	wg.Wait()
}

func TestWhatCannotBeSignedDoesNotReplaceWhatIs(t *testing.T) {
	s, m, table := moodyServer(t, 3)
	zones := []*Zone{mustZone(t, exampleConfig()).signedBy(m)}
	m.fails.Store(true)
	if err := s.SetZones(zones); !errors.Is(err, errMood) {
		t.Errorf("error %v", err)
	}
	err := s.Reload(zones, func() error {
		table.Store(steeredHosts(t, 2, 3, 1, ".new.invalid."))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Resign(context.Background()); !errors.Is(err, errMood) {
		t.Errorf("error %v", err)
	}
	if got := target(t, s.load()); got != "b0.old.invalid." {
		t.Errorf("after a refused reload: %s", got)
	}
	m.fails.Store(false)
	if err := s.Resign(context.Background()); err != nil {
		t.Error(err)
	}
	if got := target(t, s.load()); got != "b0.new.invalid." {
		t.Errorf("when it could be signed: %s", got)
	}
	m.fails.Store(true)
	_, err = New(Config{Listen: []string{"127.0.0.1:0"}, Zones: zones})
	if !errors.Is(err, errMood) {
		t.Errorf("started without signatures: %v", err)
	}
}

func TestRunSignsAgainWhenSignaturesAreDue(t *testing.T) {
	s, m, _ := moodyServer(t, 3)
	late := time.Now()
	s.cfg.Now = func() time.Time { return late }
	before := m.signs.Load()
	if err := s.Resign(context.Background()); err != nil || m.signs.Load() != before {
		t.Errorf("signed again at once, %v", err)
	}
	late = late.Add(10 * 24 * time.Hour)
	if err := s.Resign(context.Background()); err != nil || m.signs.Load() != before+1 {
		t.Errorf("not signed again after ten days, %v", err)
	}
}

func BenchmarkSwapOfASignedTableOfThousandNames(b *testing.B) {
	s, m, table := moodyServer(b, 1000)
	tables := [2]*steering.Table{steeredHosts(b, 2, 1000, 7, ".old.invalid."),
		steeredHosts(b, 3, 1000, 9, ".old.invalid.")}
	before := m.signs.Load()
	i := 0
	for b.Loop() {
		i++
		table.Store(tables[i%2])
		s.load()
	}
	if m.signs.Load() != before {
		b.Fatal("it was signed")
	}
}
