package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// limits are those of the tests: 200 responses a second of each class, 1000 of all.
func limits() RateLimit {
	return RateLimit{Answers: 200, NXDomain: 200, NoData: 200, Errors: 200, All: 1000, Slip: 2}
}

// meter is a limiter in virtual time.
type meter struct {
	t *testing.T
	*rates
	*buckets
	now uint64 // µs
}

func newMeter(t *testing.T, c RateLimit, workers, size int) *meter {
	t.Helper()
	r, err := newRates(c, workers)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuckets(size)
	if err != nil {
		t.Fatal(err)
	}
	return &meter{t: t, rates: r, buckets: b}
}

func (m *meter) ask(from string, c class, subject uint64) fate {
	return m.charge(m.buckets, netip.MustParseAddr(from), c, subject, m.now)
}

// flood asks at a steady rate for some seconds, and counts the fates.
func (m *meter) flood(from string, c class, subject uint64, rate, seconds int) (n [3]int) {
	for range rate * seconds {
		m.now += uint64(1_000_000 / rate)
		n[m.ask(from, c, subject)]++
	}
	return n
}

func TestAClientWithinItsRateGetsEveryAnswer(t *testing.T) {
	m := newMeter(t, limits(), 1, 0)
	if n := m.flood("192.0.2.1", classAnswer, 7, 199, 30); n[sent] != 199*30 {
		t.Errorf("sent, dropped, slipped: %v", n)
	}
	m.now += 10_000_000
	for i := range 200 { // at once, after a silence
		if f := m.ask("192.0.2.1", classAnswer, 7); f != sent {
			t.Fatalf("answer %d of a burst: %v", i, f)
		}
	}
	if f := m.ask("192.0.2.1", classAnswer, 7); f == sent {
		t.Error("a burst has no end")
	}
}

func TestAFloodGetsNothingButSlipsAndIsForgiven(t *testing.T) {
	for slip, want := range map[int][3]int{0: {0, 20000, 0}, 1: {0, 0, 20000}, 2: {0, 10000, 10000},
		5: {0, 16000, 4000}, 15: {0, 18667, 1333}} {
		c := limits()
		c.Slip = slip
		m := newMeter(t, c, 1, 0)
		m.flood("192.0.2.1", classNXDomain, 7, 5000, 2)
		got := m.flood("192.0.2.1", classNXDomain, 7, 5000, 4)
		for i := range got {
			if d := got[i] - want[i]; d < -1 || d > 1 {
				t.Errorf("slip %d: sent, dropped, slipped %v, want %v", slip, got, want)
				break
			}
		}
		m.now += 5_100_000
		if f := m.ask("192.0.2.1", classNXDomain, 7); f != sent {
			t.Errorf("slip %d: after 5 s of silence: %v", slip, f)
		}
	}
}

func TestClassesNamesAndPrefixesAreCountedApart(t *testing.T) {
	m := newMeter(t, RateLimit{Answers: 10, NXDomain: 10, NoData: 10, Errors: 10, Slip: 2}, 1, 0)
	m.flood("192.0.2.1", classAnswer, 7, 1000, 3)
	for _, c := range []struct {
		from    string
		class   class
		subject uint64
		want    bool
	}{
		{"192.0.2.255", classAnswer, 7, false}, // the same /24
		{"192.0.3.1", classAnswer, 7, true},
		{"192.0.2.1", classAnswer, 8, true},
		{"192.0.2.1", classNXDomain, 7, true},
		{"192.0.2.1", classNoData, 7, true},
		{"192.0.2.1", classError, 7, true},
		{"::c000:201", classAnswer, 7, true},
	} {
		if f := m.ask(c.from, c.class, c.subject); (f == sent) != c.want {
			t.Errorf("%+v: %v", c, f)
		}
	}
	m.flood("2001:db8:0:ff::1", classAnswer, 7, 1000, 3)
	for from, want := range map[string]bool{"2001:db8::2": false, "2001:db8:0:100::": true} {
		if f := m.ask(from, classAnswer, 7); (f == sent) != want {
			t.Errorf("%s: %v", from, f)
		}
	}
}

func TestAllClassesTogetherAreBounded(t *testing.T) {
	m := newMeter(t, limits(), 1, 0)
	var n [3]int
	for i := range 20_000 { // 2000 a second, by 100 names
		m.now += 500
		n[m.ask("192.0.2.1", classAnswer, uint64(i%100))]++
	}
	if n[sent] > 2500 {
		t.Errorf("%d answers in 10 s: %v", n[sent], n)
	}
}

func TestARateOfZeroBoundsNothing(t *testing.T) {
	m := newMeter(t, RateLimit{Slip: 2}, 1, 0)
	for c := range classAll {
		if n := m.flood("192.0.2.1", c, 7, 100_000, 1); n[sent] != 100_000 {
			t.Errorf("class %d: %v", c, n)
		}
	}
}

func TestWorkersShareTheRate(t *testing.T) {
	for _, workers := range []int{1, 2, 7, 64} {
		all := make([]*meter, workers)
		for i := range all {
			all[i] = newMeter(t, RateLimit{Answers: 200, Slip: 2}, workers, 0)
		}
		r, n := rand.New(rand.NewPCG(1, uint64(workers))), 0
		ask := func(micros uint64) {
			m := all[r.IntN(workers)]
			m.now = micros
			if m.ask("192.0.2.1", classAnswer, 7) == sent {
				n++
			}
		}
		for i := range 20 * 140 { // 140 a second from random ports
			ask(uint64(i) * 7143)
		}
		if n < 20*140*99/100 {
			t.Errorf("%d workers: %d of %d answers within the rate", workers, n, 20*140)
		}
		n = 0
		for i := range 100_000 { // 20,000 a second
			ask(30_000_000 + uint64(i)*50)
		}
		if most := max(400, (leastBurst+2)*workers); n > most {
			t.Errorf("%d workers: %d answers to a flood, want at most %d", workers, n, most)
		}
	}
}

// Whatever some clients do, the others are answered.
func TestFloodsTakeNobodyElsesAnswers(t *testing.T) {
	for _, attackers := range []int{1, 20, 5000, 1 << 20} {
		t.Run(fmt.Sprint(attackers), func(t *testing.T) {
			m := newMeter(t, limits(), 1, 4096)
			r := rand.New(rand.NewPCG(2, uint64(attackers)))
			for i := range 300_000 { // 100,000 a second for 3 s
				m.now += 10
				n := r.IntN(attackers)
				attacker := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
				if attackers > 1<<16 {
					attacker = netip.AddrFrom4([4]byte{byte(1 + n>>16), byte(n >> 8), byte(n), 1})
				}
				m.charge(m.buckets, attacker, class(r.IntN(4)), r.Uint64N(50), m.now)
				if i%1000 == 0 { // 100 a second from each of 4 honest prefixes, all in all
					from := fmt.Sprintf("192.0.%d.1", r.IntN(4))
					if f := m.ask(from, classAnswer, r.Uint64N(3)); f != sent {
						t.Fatalf("after %d queries %s was limited", i, from)
					}
				}
			}
		})
	}
}

// A client that owes the most is forgotten last, so that others can't wash it clean.
func TestAFloodIsNotForgottenAmongManyClients(t *testing.T) {
	m := newMeter(t, limits(), 1, 1024)
	m.flood("192.0.2.1", classAnswer, 7, 5000, 3)
	r := rand.New(rand.NewPCG(3, 3))
	for range 50_000 {
		m.now += 10
		other := netip.AddrFrom4([4]byte{10, byte(r.Uint32()), byte(r.Uint32()), 1})
		m.charge(m.buckets, other, classAnswer, 7, m.now)
	}
	if f := m.ask("192.0.2.1", classAnswer, 7); f == sent {
		t.Error("forgotten")
	}
}

// Time wraps around after 12 days; nothing may depend on when that is.
func TestTimeWrapsAround(t *testing.T) {
	var want []fate
	for i, start := range []uint64{0, 1<<timeBits - 2_000_000, 1<<timeBits - 1, 1<<64 - 1_000_000} {
		m := newMeter(t, limits(), 1, 0)
		m.now = start
		var got []fate
		r := rand.New(rand.NewPCG(4, 4))
		for range 20_000 {
			m.now += r.Uint64N(3000)
			got = append(got, m.ask("192.0.2.1", classAnswer, r.Uint64N(2)))
		}
		if i == 0 {
			want = got
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("from %d on (-want +got):\n%s", start, d)
		}
	}
}

func TestLimitsThatMakeNoSenseAreRefused(t *testing.T) {
	for about, c := range map[string]RateLimit{"rate": {All: 100_001}, "negative": {Errors: -1},
		"slip": {Slip: 16}, "IPv4": {IPv4Prefix: 33}, "IPv6": {IPv6Prefix: 65}} {
		if _, err := newRates(c, 1); err == nil {
			t.Errorf("%s: no error", about)
		}
	}
	if _, err := newBuckets(maxBuckets + 1); err == nil {
		t.Error("buckets: no error")
	}
}

func BenchmarkCharge(b *testing.B) {
	r, _ := newRates(limits(), 1)
	k, _ := newBuckets(0)
	from, now := netip.MustParseAddr("192.0.2.1"), uint64(0)
	for b.Loop() {
		now += 10_000
		if r.charge(k, from, classAnswer, 7, now) != sent {
			b.Fatal("limited")
		}
	}
}
