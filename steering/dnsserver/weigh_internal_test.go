package dnsserver

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/control"
)

// weighing makes a twin whose server weighs all but sticky hosts.
func weighing(t testing.TB) *twin {
	w := newTwin(t, func(Drawer) *state { return realState(t, steering.NewDraws(1), 1) })
	table := realTable(t, 1)
	s := w.fast.s
	s.cfg.Table = func() *steering.Table { return table }
	s.cfg.Weighs = func(host string) bool {
		return host == "w.example.test." || host == "names.example.test."
	}
	s.weigher = newWeigher(&s.cfg, 2, time.Unix(0, 0))
	s.cfg.Now = func() time.Time { return time.Unix(2000, 0) }
	w.fast = s.newResponder(1)
	w.fast.out = make([]byte, maxPrepared)
	return w
}

// heardBy are the lookups that were handed over.
func heardBy(w *twin) []control.Lookup { return w.fast.s.weigher.ring(1).take(nil) }

func TestALookupIsWeighedOnceWhicheverPathAnswers(t *testing.T) {
	w := weighing(t)
	v4 := netip.MustParsePrefix("192.0.2.200/32")
	for _, c := range []struct {
		name   string
		qtype  uint16
		subnet string
		tcp    bool
		want   netip.Prefix // not valid: it is not weighed
	}{
		{"w.example.test.", dns.TypeA, "", false, v4},
		{"w.example.test.", dns.TypeA, "00011800c0a801", false, netip.MustParsePrefix("192.168.1.0/24")},
		{"w.example.test.", dns.TypeA, "00012000c0a80177", true, netip.MustParsePrefix("192.168.1.0/24")},
		{"w.example.test.", dns.TypeA, "00010000", false, v4}, // it wants to stay unknown
		{"names.example.test.", dns.TypeA, "-", false, v4},
		{"w.example.test.", dns.TypeAAAA, "", false, netip.Prefix{}},
		{"names.example.test.", dns.TypeAAAA, "", false, netip.Prefix{}},
		{"w.example.test.", dns.TypeHTTPS, "", false, netip.Prefix{}},
		{"w.sticky.example.test.", dns.TypeA, "", false, netip.Prefix{}},
		{"mail.example.test.", dns.TypeA, "", false, netip.Prefix{}},
		{"nx.example.test.", dns.TypeA, "", false, netip.Prefix{}},
		{"example.com.", dns.TypeA, "", false, netip.Prefix{}},
	} {
		in := ask{packet: plain(t, c.name, c.qtype, c.subnet), from: clients[0], tcp: c.tcp}
		for round := range 20 { // the ordinary path first, then the memo
			now := time.Unix(1000+int64(round), 0)
			if out := w.fast.answer(in, w.with, now); out == nil {
				t.Fatal("no answer")
			}
			var want []control.Lookup
			if c.want.IsValid() {
				want = []control.Lookup{{Host: c.name, Client: c.want,
					At: now.Sub(time.Unix(0, 0)), TTL: 20 * time.Second}}
			}
			same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
			if diff := cmp.Diff(want, heardBy(w), same); diff != "" {
				t.Fatalf("%s, type %d, subnet %q, round %d: %s", c.name, c.qtype, c.subnet, round,
					diff)
			}
		}
	}
}

func TestAnAnswerThatWasWithheldOrCutIsNotWeighed(t *testing.T) {
	w := weighing(t)
	rates, err := newRates(RateLimit{Answers: 1, Slip: 2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuckets(0)
	if err != nil {
		t.Fatal(err)
	}
	w.fast.limits = &limiter{buckets: b, epoch: time.Unix(0, 0)}
	w.fast.limits.rates.Store(rates)
	in := ask{packet: plain(t, "w.example.test.", dns.TypeA, ""), from: clients[0]}
	whole := 0
	for range 100 {
		out := w.fast.answer(in, w.with, time.Unix(1000, 0))
		if out != nil && out[2]&2 == 0 {
			whole++
		}
	}
	if got := len(heardBy(w)); got != whole || whole == 100 {
		t.Errorf("%d lookups are weighed of %d that were answered whole", got, whole)
	}
}

func TestLoadsAreOfAllWorkersTogether(t *testing.T) {
	w := weighing(t)
	s := w.fast.s
	workers := []*responder{w.fast, s.newResponder(0)}
	workers[1].out = make([]byte, maxPrepared)
	packet := plain(t, "w.example.test.", dns.TypeA, "")
	for i := range 90 { // 1 s after each TTL, by any worker
		in := ask{packet: packet, from: clients[0]}
		workers[i*i%7%2].answer(in, w.with, time.Unix(110+21*int64(i), 0))
	}
	got := s.Loads()
	if len(got) != 1 || got[0].Scope != (control.Scope{Host: "w.example.test."}) ||
		len(got[0].Resolvers) != 1 {
		t.Fatalf("the loads are %+v", got)
	}
	r := got[0].Resolvers[0]
	if r.Prefix.String() != "192.0.2.200/32" || r.Load < 0.8 || r.Load > 1.3 ||
		got[0].Total != r.Load {
		t.Errorf("a resolver that is asked once a second is %+v of %v", r, got[0].Total)
	}
	s.cfg.Weighs = nil
	s.weigher.table = func() *steering.Table { return nil }
	if got := s.Loads(); got != nil {
		t.Errorf("without a table the loads are %v", got)
	}
}

func TestARingIsBoundedCountsWhatItLosesAndMixesNothingUp(t *testing.T) {
	const producers, each = 4, 3 * weighSlots
	r := newWeighRing()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				r.put(&control.Lookup{Host: "h.", At: time.Duration(i), TTL: time.Duration(p)})
			}
		})
	}
	ctx, done := context.WithCancel(context.Background())
	reader := sync.WaitGroup{}
	got, last := 0, [producers]time.Duration{-1, -1, -1, -1}
	read := func() {
		for _, l := range r.take(nil) {
			if l.At <= last[l.TTL] || l.Host != "h." {
				t.Errorf("%d of %d came after %d", l.At, l.TTL, last[l.TTL])
			}
			last[l.TTL] = l.At
			got++
		}
	}
	reader.Go(func() {
		for ctx.Err() == nil {
			read()
		}
	})
	wg.Wait()
	done()
	reader.Wait()
	read()
	if lost := int(r.full.Load()); got+lost != producers*each {
		t.Errorf("%d came and %d are lost of %d", got, lost, producers*each)
	}
	for range weighSlots + 5 {
		r.put(&control.Lookup{Host: "h."})
	}
	before := r.full.Load()
	r.put(&control.Lookup{Host: "h."})
	if n := len(r.take(nil)); n != weighSlots || r.full.Load() != before+1 {
		t.Errorf("a full ring holds %d", n)
	}
}

func BenchmarkFastPathWeighed(b *testing.B) {
	w := weighing(b)
	for _, c := range []struct{ about, name string }{{"weighed", "w.example.test."},
		{"not weighed", "w.sticky.example.test."}} {
		b.Run(c.about, func(b *testing.B) {
			in := ask{packet: plain(b, c.name, dns.TypeA, "00011800c0a801"), from: clients[0]}
			now := time.Unix(1e9, 0)
			for range 100 {
				w.fast.answer(in, w.with, now)
			}
			scratch := make([]control.Lookup, 0, weighSlots)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				w.fast.answer(in, w.with, now)
				if n++; n%1024 == 0 {
					scratch = w.fast.weighs.take(scratch[:0])
				}
			}
		})
	}
}

func BenchmarkWeigh(b *testing.B) {
	w := weighing(b)
	d := &steering.Decision{TTL: 20, V4: addrs("192.0.2.1")}
	subnet := netip.MustParsePrefix("192.168.1.0/24")
	out, now := make([]byte, headerSize), time.Unix(1e9, 0)
	scratch := make([]control.Lookup, 0, weighSlots)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		w.fast.heard("w.example.test.", d, dns.TypeA, subnet, clients[0])
		w.fast.weigh(out, now)
		if n++; n%1024 == 0 {
			scratch = w.fast.weighs.take(scratch[:0])
		}
	}
}
