package dnsserver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

// absent is a signer elsewhere, which has published or has not.
type absent struct {
	*dnssec.Signer
	published atomic.Bool
}

func (a *absent) Sign(ctx context.Context, z *dnssec.Zone) (*dnssec.Signed, error) {
	if !a.published.Load() {
		return nil, dnssec.ErrUnpublished
	}
	return a.Signer.Sign(ctx, z)
}

func newAbsent(t testing.TB) *absent {
	t.Helper()
	s, err := dnssec.New(dnssec.Config{Zone: "example.test.", Folder: t.TempDir(), Publishes: true})
	if err != nil {
		t.Fatal(err)
	}
	return &absent{Signer: s}
}

// rcode asks a state one question.
func rcode(t testing.TB, s *Server, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	in := ask{packet: packet, from: netip.MustParseAddr("192.0.2.1"), tcp: true}
	out := append([]byte(nil), s.newResponder(0).answer(in, s.load(), time.Now())...)
	a := new(dns.Msg)
	if err := a.Unpack(out); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAZoneWithoutPublishedSignaturesIsWithheldAndNoOther(t *testing.T) {
	signer := newAbsent(t)
	plain := mustZone(t, ZoneConfig{Name: "plain.test", NS: []string{"ns.example.net"}})
	s, err := New(Config{Listen: []string{"127.0.0.1:0"},
		Zones: []*Zone{mustZone(t, exampleConfig()).signedBy(signer), plain}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"example.test.", "gone.example.test."} {
		if a := rcode(t, s, name, dns.TypeSOA); a.Rcode != dns.RcodeServerFailure || len(a.Ns) > 0 {
			t.Errorf("%s before it was signed: %v", name, a)
		}
	}
	if a := rcode(t, s, "plain.test.", dns.TypeSOA); a.Rcode != dns.RcodeSuccess {
		t.Errorf("a zone that isn't signed: %v", a)
	}
	signer.published.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	var keeping sync.WaitGroup
	keeping.Go(func() {
		if err := s.keepSigned(ctx); err != nil {
			t.Error(err)
		}
	})
	s.SignAgain()
	deadline := time.Now().Add(20 * time.Second)
	for rcode(t, s, "example.test.", dns.TypeSOA).Rcode != dns.RcodeSuccess {
		if time.Now().After(deadline) {
			cancel()
			t.Fatal("it never came into force")
		}
	}
	cancel()
	keeping.Wait()
}

func TestAReloadThatIsNotPublishedYetChangesNothing(t *testing.T) {
	signer := newAbsent(t)
	signer.published.Store(true)
	table := new(atomic.Pointer[steering.Table])
	table.Store(steeredHosts(t, 1, 3, 1, ".old.invalid."))
	zones := []*Zone{mustZone(t, exampleConfig()).signedBy(signer)}
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Table: table.Load, Draws: constant(0),
		Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	signer.published.Store(false)
	old := table.Load()
	err = s.Reload([]*Zone{mustZone(t, exampleConfig()).signedBy(signer)}, func() error {
		table.Store(steeredHosts(t, 2, 3, 1, ".new.invalid."))
		return nil
	})
	if !errors.Is(err, dnssec.ErrUnpublished) {
		t.Fatalf("error %v", err)
	}
	table.Store(old) // as the caller must
	if got := target(t, s.load()); got != "b0.old.invalid." {
		t.Errorf("after a reload that waits: %s", got)
	}
	// Weights go on to change answers, which a zone that waits for its signatures would not.
	table.Store(steeredHosts(t, 3, 3, 7, ".old.invalid."))
	if s.load(); s.current.Load().table != table.Load() {
		t.Error("tables are not taken any more")
	}
}

func TestAWithheldZoneIsToldOfAtOnceAndEveryTenMinutes(t *testing.T) {
	signer := newAbsent(t)
	var log bytes.Buffer
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Now: func() time.Time { return now },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Zones:  []*Zone{mustZone(t, exampleConfig()).signedBy(signer)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	told := func() int { return strings.Count(log.String(), "zone answers SERVFAIL") }
	if told() != 1 {
		t.Errorf("at the start it was told of %d times:\n%s", told(), &log)
	}
	want := []Withheld{{"example.test.", dnssec.ErrUnpublished.Error()}}
	if got := s.Withheld(); !slices.Equal(got, want) {
		t.Errorf("withheld are %v", got)
	}
	for range 25 {
		now = now.Add(time.Minute)
		if err := s.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if told() != 3 {
		t.Errorf("in 25 minutes it was told of %d times", told())
	}
	signer.published.Store(true)
	if err := s.resign(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := s.Withheld(); len(got) != 0 || !strings.Contains(log.String(), "no longer answers") {
		t.Errorf("withheld are %v:\n%s", got, &log)
	}
}

func TestTheSerialOfASignedZoneIsThatOfItsSignaturesEverywhere(t *testing.T) {
	signer := newAbsent(t)
	signer.published.Store(true)
	cfg := exampleConfig()
	cfg.SOA.Serial = 0
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Zones: []*Zone{mustZone(t, cfg).signedBy(signer)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, ok, err := signer.Publication()
	if err != nil || !ok {
		t.Fatal(err)
	}
	got := rcode(t, s, "example.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial
	negative := rcode(t, s, "gone.example.test.", dns.TypeA).Ns[0].(*dns.SOA).Serial
	if got != p.Serial || negative != p.Serial {
		t.Errorf("%d in the answer, %d in denials, %d published", got, negative, p.Serial)
	}
	if p.Serial < uint32(time.Now().Add(-time.Hour).Unix()) {
		t.Errorf("%d is no time", p.Serial)
	}
}
