package dnsserver

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
)

// guarded returns a responder with limits, and a state for it.
func guarded(t testing.TB, c RateLimit) (*responder, *state) {
	t.Helper()
	m, err := newMetrics(nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{UDPSize: 1232, UDPWorkers: 1}, metrics: m,
		log: slog.New(slog.DiscardHandler)}
	if s.limiters, err = newLimiters(1, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.SetRateLimit(&c); err != nil {
		t.Fatal(err)
	}
	w := s.newResponder(1)
	w.out = make([]byte, maxPrepared)
	st := *realState(t, steering.NewDraws(1), 1)
	st.memo = newMemo(&st, nil)
	return w, &st
}

// TestAReflectedFloodIsSmallerThanItsQueries sends each kind of query with a few forged sources,
// by both paths, and weighs what comes out.
func TestAReflectedFloodIsSmallerThanItsQueries(t *testing.T) {
	w, st := guarded(t, limits())
	r := rand.New(rand.NewPCG(1, 1))
	queries := commonQueries(t)
	queries["ordinary: everything of a name"] = plain(t, "example.test.", dns.TypeANY, "-")
	queries["ordinary: no such opcode"] = []byte("\x00\x01\x30\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for about, packet := range queries {
		in, out := 0, 0
		start := time.Now()
		for i := range 40_000 { // 10,000 a second
			from := netip.AddrFrom4([4]byte{198, 51, byte(r.IntN(2)), byte(r.Uint32())})
			in += len(packet)
			out += len(w.answer(ask{packet: packet, from: from}, st,
				start.Add(time.Duration(i)*100*time.Microsecond)))
		}
		if out > in {
			t.Errorf("%s: %d octets for %d", about, out, in)
		}
		w.limits.buckets, _ = newBuckets(0)
	}
}

func TestExemptClientsDoNotUseUpTheRateOfTheirNeighbours(t *testing.T) {
	c := limits()
	c.Exempt = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
	w, st := guarded(t, c)
	now, packet := time.Now(), plain(t, "mail.example.test.", dns.TypeA, "")
	for range 10_000 {
		in := ask{packet: packet, from: netip.MustParseAddr("198.51.100.7")}
		if w.answer(in, st, now) == nil {
			t.Fatal("an exempt client was limited")
		}
	}
	out := w.answer(ask{packet: packet, from: netip.MustParseAddr("198.51.100.8")}, st, now)
	if len(out) < headerSize || out[2]&2 != 0 {
		t.Errorf("its neighbour got % x", out)
	}
}

func TestWhatWasCutCountsAsAnAnswer(t *testing.T) {
	cut := []byte{0, 0, 0x86, 0, 0, 1, 0, 0, 0, 0, 0, 0} // AA and TC
	if got := classify(cut); got != classAnswer {
		t.Errorf("class %v", got)
	}
}

func TestAnErrorThatOnlyOPTTellsOfCountsAsAnError(t *testing.T) {
	w, st := guarded(t, limits())
	m := new(dns.Msg).SetQuestion("mail.example.test.", dns.TypeA).SetEdns0(1232, false)
	m.IsEdns0().SetVersion(1)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := w.answer(ask{packet: packet, from: clients[0]}, st, time.Now())
	if got := classify(out); got != classError {
		t.Errorf("BADVERS is of class %v: % x", got, out)
	}
	m.IsEdns0().SetVersion(0)
	if packet, err = m.Pack(); err != nil {
		t.Fatal(err)
	}
	out = w.answer(ask{packet: packet, from: clients[1]}, st, time.Now())
	if got := classify(out); got == classError {
		t.Errorf("an answer is of class %v: % x", got, out)
	}
}

func TestARandomSubdomainFloodIsLimitedByZone(t *testing.T) {
	w, st := guarded(t, limits())
	full, start := 0, time.Now()
	for i := range 20_000 { // 10,000 a second
		packet := plain(t, fmt.Sprintf("r%d.sub%d.example.test.", i, i%3), dns.TypeA, "-")
		out := w.answer(ask{packet: packet, from: clients[0]}, st,
			start.Add(time.Duration(i)*100*time.Microsecond))
		if len(out) > len(packet) {
			full++
		}
	}
	if full > 250 {
		t.Errorf("%d whole denials", full)
	}
}

// A withheld answer that slips is the question with TC: no denial, no record.
func TestASlippedAnswerIsTheQuestionWithTC(t *testing.T) {
	c := limits()
	c.Slip = 1
	w, st := guarded(t, c)
	now := time.Now()
	for about, packet := range commonQueries(t) {
		var out []byte
		for range 500 {
			out = w.answer(ask{packet: packet, from: clients[0]}, st, now)
		}
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%s: %v", about, err)
		}
		want := about != "no such zone" // REFUSED has nothing to cut
		if m.Truncated != want || want && m.Rcode != dns.RcodeSuccess ||
			len(out) > len(packet)+serverCookieSize ||
			len(m.Question) != 1 || len(m.Answer)+len(m.Ns) > 0 {
			t.Errorf("%s: %d octets: %v", about, len(out), m)
		}
		q := new(dns.Msg)
		if err := q.Unpack(packet); err != nil {
			t.Fatal(err)
		}
		if (q.IsEdns0() != nil) != (m.IsEdns0() != nil) || m.Id != q.Id ||
			m.Question[0] != q.Question[0] {
			t.Errorf("%s: %v to %v", about, m, q)
		}
	}
}

func TestTheTrustedAndTheProvenAreNotLimited(t *testing.T) {
	c := limits()
	c.Exempt = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	packet := plain(t, "mail.example.test.", dns.TypeA, "")
	for about, set := range map[string]struct {
		observe bool
		in      ask
		withheld,
		would uint64
	}{
		"exempt":   {in: ask{packet: packet, from: netip.MustParseAddr("203.0.113.9")}},
		"mapped":   {in: ask{packet: packet, from: netip.MustParseAddr("::ffff:203.0.113.9")}},
		"tcp":      {in: ask{packet: packet, from: clients[0], tcp: true}},
		"observed": {in: ask{packet: packet, from: clients[0]}, observe: true, would: 800},
		"limited":  {in: ask{packet: packet, from: clients[0]}, withheld: 800},
	} {
		c.Observe = set.observe
		w, st := guarded(t, c)
		whole, now := 0, time.Now()
		for range 1000 {
			if len(w.answer(set.in, st, now)) > len(packet) {
				whole++
			}
		}
		n := w.s.limitedCounts()
		if n[0]+n[1] != set.withheld || n[2] != set.would || whole != 1000-int(set.withheld) {
			t.Errorf("%s: %d whole answers, counts %v", about, whole, n)
		}
	}
}

// A wildcard's answers count as one name's, though each has another one.
func TestAWildcardsAnswersCountTogether(t *testing.T) {
	w, _ := guarded(t, limits())
	st := exampleState(t, constant(0))
	whole, now := 0, time.Now()
	for i := range 2000 {
		packet := plain(t, fmt.Sprintf("r%d.wild.example.test.", i), dns.TypeTXT, "")
		q, _ := parseQuery(packet, clients[0])
		if r := answer(&q, st, now); r.subject != "*.wild.example.test." {
			t.Fatalf("subject %q of %v", r.subject, r.msg)
		}
		if len(w.answer(ask{packet: packet, from: clients[0]}, st, now)) > len(packet) {
			whole++
		}
	}
	if whole > 200 {
		t.Errorf("%d whole answers", whole)
	}
}

// TestAMillionRandomNamesTakeNoMemory asks them of both paths, over both transports.
func TestAMillionRandomNamesTakeNoMemory(t *testing.T) {
	w, st := guarded(t, limits())
	packet := plain(t, "r0000000000000000.example.test.", dns.TypeA, "-")
	odd := plain(t, "r0000000000000000.example.test.", 65400, "-") // for the ordinary path
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	now := time.Now()
	for i := range 1_000_000 {
		p := packet
		if i%10 == 0 {
			p = odd
		}
		copy(p[14:], fmt.Appendf(nil, "%016x", i))
		from := netip.AddrFrom4([4]byte{byte(i), byte(i >> 8), byte(i >> 16), 1})
		w.answer(ask{packet: p, from: from, tcp: i%2 == 0}, st, now)
		if i == 10_000 {
			before = heap()
		}
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d octets", before, after)
	}
}

// TestMutatedPacketsGetNoMoreThanTheyMay changes good packets at random: none panics, and what
// can't be read gets a header or silence.
func TestMutatedPacketsGetNoMoreThanTheyMay(t *testing.T) {
	w, st := guarded(t, RateLimit{})
	q := newQuestions(st, 9)
	for n := 0; n < 12_000; n++ {
		packet := q.packet()
		if packet == nil {
			continue
		}
		for range 1 + q.IntN(4) {
			switch q.IntN(3) {
			case 0:
				packet[q.IntN(len(packet))] = byte(q.Uint32())
			case 1:
				packet = packet[:1+q.IntN(len(packet))]
			case 2:
				packet = append(packet, byte(q.Uint32()))
			}
		}
		_, v := parseQuery(packet, clients[0])
		out := w.answer(ask{packet: packet, from: clients[0]}, st, time.Time{})
		switch {
		case v == ignored && out != nil, v != accepted && len(out) > headerSize, len(out) > 1232:
			t.Fatalf("verdict %d: % x got % x", v, packet, out)
		}
	}
	if n := w.s.metrics.panics.Load(); n > 0 {
		t.Errorf("%d panics", n)
	}
}

func TestConnectionsLosePatienceAsTheyGrowMany(t *testing.T) {
	for _, c := range []struct {
		open, allowed int
		want          time.Duration
	}{{0, 100, 10 * time.Second}, {50, 100, 10 * time.Second}, {75, 100, 5 * time.Second},
		{99, 100, time.Second}, {100, 100, time.Second}, {101, 100, time.Second},
		{1, 1, time.Second}} {
		if got := patience(10*time.Second, c.open, c.allowed); got != c.want {
			t.Errorf("%d of %d: %v, want %v", c.open, c.allowed, got, c.want)
		}
	}
}
