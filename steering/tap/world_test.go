package tap_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering"
	"pointsman/steering/tap"
)

const host = "cdn.example.test."

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// table steers a host with a place for 192.0.2.0/25 between two backends, one weighing version.
func table(t testing.TB, version uint64) *steering.Table {
	t.Helper()
	made, err := steering.Compile(steering.Inputs{Version: version, Now: start, Spec: &steering.Spec{
		Backends: []steering.Backend{{Name: "a", CNAME: "a.invalid."}, {Name: "b", CNAME: "b.invalid."},
			{Name: "c", CNAME: "c.invalid."}},
		Pools: []steering.Pool{
			{Name: "all", Members: []steering.Member{{Backend: "a", Weight: uint32(version)},
				{Backend: "b", Weight: 1}}},
			{Name: "near", Members: []steering.Member{{Backend: "c", Weight: 1}}}},
		Hosts: []steering.Host{{Name: host, TTL: 20 * time.Second, Pools: []string{"all"},
			Stickiness: steering.Spread, Places: []steering.Place{{Name: "near",
				Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.128/25")},
				Pools:    []string{"near"}}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// query asks for the host's A, with a client subnet of 192.0.2.0/24 if subnet is true.
func query(subnet bool) []byte {
	q := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" +
		"\x03cdn\x07example\x04test\x00\x00\x01\x00\x01")
	if subnet {
		q[11] = 1
		q = append(q, "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0b"+
			"\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02"...)
	}
	return q
}

// event is one that every sink can take.
func event(table *steering.Table) *tap.Event {
	answer := query(false)
	answer[2] |= 0x84
	return &tap.Event{At: start, Done: start.Add(40 * time.Microsecond), Proto: tap.UDP,
		Client: netip.MustParseAddrPort("192.0.2.7:4242"),
		Server: netip.MustParseAddrPort("198.51.100.53:53"),
		Query:  query(false), Answer: answer, Table: table, Type: 1,
		Prefix: netip.MustParsePrefix("192.0.2.7/32"), Picks: []tap.Pick{{Host: host, Draw: 5}}}
}

// offer shows an event to a source, if it is due.
func offer(s *tap.Source, e *tap.Event) {
	steered := len(e.Picks) > 0
	if s.Due(steered) {
		s.Offer(s.Chosen(steered), e)
	}
}

func apex([]byte) []byte { return []byte("\x07example\x04test\x00") }

// running runs a tap until the returned function is called, which waits for its end.
func running(t *testing.T, made *tap.Tap) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := made.Run(ctx, apex); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func newTap(t *testing.T, cfg tap.Config) (*tap.Tap, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	made, err := tap.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return made, reg
}

// counts returns the counters of a registry by the values of their labels.
func counts(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key = l.GetValue() + " " + key
			}
			if v := m.GetCounter().GetValue(); v > 0 {
				out[key[:len(key)-1]] = v
			}
		}
	}
	return out
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func second[T any](_ T, err error) error { return err }

// go1 runs f beside the test, which waits for it at its end.
func go1(t *testing.T, f func()) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(f)
	t.Cleanup(wg.Wait)
}
