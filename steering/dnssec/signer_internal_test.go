package dnssec

import (
	"context"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// broken is a key that can't sign any more, such as one behind a device that went away.
type broken struct{ crypto.Signer }

var errDevice = errors.New("the device went away")

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errDevice }

func smallZone(t testing.TB, more ...string) *Zone {
	t.Helper()
	soa, err := dns.NewRR("example.test. 300 IN SOA ns.example.net. h.example.test. 1 1 1 1 30")
	if err != nil {
		t.Fatal(err)
	}
	z := &Zone{Apex: "example.test.", SOA: soa.(*dns.SOA),
		Names: []Name{{Owner: "example.test.", Sets: [][]dns.RR{{soa}}}}}
	for _, s := range more {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		z.Names = append(z.Names, Name{Owner: rr.Header().Name, Sets: [][]dns.RR{{rr}}})
	}
	return z
}

func TestIfSigningStopsTheLastSignaturesServeUntilTheirEnd(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Zone: "example.test.", Folder: t.TempDir(), Metrics: m,
		Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	z := smallZone(t, "www.example.test. 300 IN A 192.0.2.1")
	first, err := s.Sign(context.Background(), z)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.keys {
		p.private = broken{p.private}
	}
	now = first.Refresh().Add(24 * time.Hour) // all are due by now
	again, err := s.Sign(context.Background(), z)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Expires().Equal(first.Expires()) {
		t.Errorf("they end at %v, then at %v", first.Expires(), again.Expires())
	}
	if !again.Refresh().Before(now) {
		t.Error("the next try would come too late")
	}
	for name, want := range map[string]float64{"stuck_signatures": 7, "failures_total": 1,
		"signatures_expire_timestamp_seconds": float64(first.Expires().Unix())} {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := -1.0
		for _, f := range families {
			if f.GetName() == "pointsman_dnssec_"+name {
				got = f.Metric[0].Gauge.GetValue() + f.Metric[0].Counter.GetValue()
			}
		}
		if got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, err := s.Sign(context.Background(), smallZone(t, "new.example.test. 300 IN A 192.0.2.1")); !errors.Is(err, errDevice) {
		t.Errorf("a set that was never signed: %v", err)
	}
	now = first.Expires()
	if _, err := s.Sign(context.Background(), z); !errors.Is(err, errDevice) {
		t.Errorf("after the end: %v", err)
	}
	if n := testutil.CollectAndCount(m.failures); n != 1 {
		t.Errorf("%d series", n)
	}
}

// RFC 4034 §6.1 gives this order.
func TestNamesSortCanonically(t *testing.T) {
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.",
		"zABC.a.EXAMPLE.", "z.example.", "\\001.z.example.", "*.z.example.", "\\200.z.example."}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(canonicalKey(a), canonicalKey(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// An absent octet sorts before a zero one, and a label's end before both.
	for _, pair := range [][2]string{{"a.x.", "a\\000.x."}, {"a\\000.x.", "a\\001.x."},
		{"a\\001.x.", "a\\002.x."}, {"b.a.x.", "a\\000.x."}} {
		if canonicalKey(pair[0]) >= canonicalKey(pair[1]) {
			t.Errorf("%q is not before %q", pair[0], pair[1])
		}
	}
}

func TestChainsCoverAllNamesOnce(t *testing.T) {
	z := smallZone(t, "www.example.test. 300 IN A 192.0.2.1", "a.b.example.test. 300 IN A 192.0.2.1")
	z.Names = append(z.Names, Name{Owner: "b.example.test."})
	for _, nsec3 := range []bool{false, true} {
		c := newChain(z, z.Names, nsec3)
		want := 3
		if nsec3 {
			want = 4 // empty names have one too
		}
		if len(c.links) != want {
			t.Errorf("nsec3=%t: %d links, want %d", nsec3, len(c.links), want)
		}
		for i, l := range c.links {
			next := c.links[(i+1)%len(c.links)]
			switch rr := l.whole[0].(type) {
			case *dns.NSEC:
				if rr.NextDomain != next.whole[0].Header().Name {
					t.Errorf("%v leads past %v", rr, next.whole[0])
				}
			case *dns.NSEC3:
				if !strings.EqualFold(rr.NextDomain+".example.test.", next.whole[0].Header().Name) {
					t.Errorf("%v leads past %v", rr, next.whole[0])
				}
			}
		}
	}
}

func BenchmarkSignThousandNamesOfFiveVariants(b *testing.B) {
	z := smallZone(b)
	for i := range 1000 {
		name := "h" + strings.Repeat("x", i%40) + string(rune('a'+i%26)) + "." + time.Duration(i).String() + ".example.test."
		n := Name{Owner: name}
		for v := range 5 {
			rr, err := dns.NewRR(name + " 20 IN CNAME c" + string(rune('a'+v)) + ".example.net.")
			if err != nil {
				b.Fatal(err)
			}
			n.Variants = append(n.Variants, Variant{Name: string(rune('a' + v)), Sets: [][]dns.RR{{rr}}})
		}
		z.Names = append(z.Names, n)
	}
	for _, a := range []Algorithm{ECDSA, Ed25519} {
		b.Run(string(a)+", nothing signed before", func(b *testing.B) {
			for b.Loop() {
				s, err := New(Config{Zone: z.Apex, Folder: b.TempDir(), Policy: Policy{Algorithm: a}})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Sign(context.Background(), z); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(a)+", all signed before", func(b *testing.B) {
			s, err := New(Config{Zone: z.Apex, Folder: b.TempDir(), Policy: Policy{Algorithm: a}})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Sign(context.Background(), z); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
