package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/steering/dnssec"
)

const apex = "example.test."

func record(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// zone is a zone with static names and a steered one of two variants.
func zone(t testing.TB, more ...string) *dnssec.Zone {
	t.Helper()
	soa := record(t, apex+" 3600 IN SOA ns.example.net. h.example.test. 7 3600 600 604800 30")
	sets := func(s string) [][]dns.RR { return [][]dns.RR{{record(t, s)}} }
	z := &dnssec.Zone{Apex: apex, SOA: soa.(*dns.SOA), FreeSerial: true, Names: []dnssec.Name{
		{Owner: apex, Sets: [][]dns.RR{{soa}, {record(t, apex+" 3600 IN NS ns.example.net.")}}},
		{Owner: "*.wild.example.test.", Sets: sets("*.wild.example.test. 300 IN A 192.0.2.1")},
		{Owner: "wild.example.test."},
		{Owner: "cdn.example.test.", Variants: []dnssec.Variant{
			{Name: "a", Sets: sets("cdn.example.test. 20 IN CNAME a.example.net.")},
			{Name: "b", Sets: sets("cdn.example.test. 20 IN A 192.0.2.2")},
		}},
	}}
	for _, s := range more {
		rr := record(t, s)
		z.Names = append(z.Names, dnssec.Name{Owner: rr.Header().Name, Sets: [][]dns.RR{{rr}}})
	}
	return z
}

// world is a store that nodes share, and their clock.
type world struct {
	t      testing.TB
	now    time.Time
	memory *storetest.Memory
	store  *storetest.Faulty
	keys   string
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), keys: t.TempDir()}
	w.memory = storetest.NewMemory(w.time)
	w.store = storetest.NewFaulty(w.memory)
	return w
}

func (w *world) time() time.Time { return w.now }

// place is a node with its own store, which can be started again.
type place struct {
	*Node
	w      *world
	name   string
	keys   string // empty: it has none
	local  *storetest.Memory
	policy dnssec.Policy
	parent func(context.Context, string) ([]*dns.DS, error)
	reg    *prometheus.Registry
	signer *dnssec.Signer
}

func (w *world) place(name, keys string, policy dnssec.Policy) *place {
	p := &place{w: w, name: name, keys: keys, policy: policy, local: storetest.NewMemory(w.time)}
	p.start()
	return p
}

func (p *place) start() {
	p.w.t.Helper()
	p.reg = prometheus.NewRegistry()
	m, err := dnssec.NewMetrics(p.reg)
	if err != nil {
		p.w.t.Fatal(err)
	}
	cfg := Config{Zone: apex, Node: p.name, Shared: p.w.store, Local: p.local, Now: p.w.time,
		Metrics: m, Follower: dnssec.NewFollower(dnssec.FollowerConfig{Zone: apex,
			Refresh: 120 * time.Hour, Now: p.w.time, Metrics: m, Parent: p.parent})}
	if p.keys != "" {
		p.signer, err = dnssec.New(dnssec.Config{Zone: apex, Folder: p.keys, Publishes: true,
			Policy: p.policy, Now: p.w.time, Metrics: m})
		if err != nil {
			p.w.t.Fatal(err)
		}
		cfg.Signer = p.signer
	}
	p.Node = New(cfg)
	p.Load(p.w.t.Context())
}

// round signs and syncs as a server and a Board do.
func (p *place) round(z *dnssec.Zone) *dnssec.Signed {
	p.w.t.Helper()
	if _, err := p.Advance(p.w.t.Context()); err != nil {
		p.w.t.Fatal(err)
	}
	for {
		if signed, err := p.Sign(p.w.t.Context(), z); err != nil && !errors.Is(err, dnssec.ErrUnpublished) {
			p.w.t.Fatal(err)
		} else if changed, err := p.sync(p.w.t.Context()); err != nil {
			p.w.t.Fatal(err)
		} else if !changed {
			return signed
		}
	}
}

func (p *place) metric(name string) float64 {
	p.w.t.Helper()
	families, err := p.reg.Gather()
	if err != nil {
		p.w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pointsman_dnssec_"+name {
			return f.Metric[0].Gauge.GetValue() + f.Metric[0].Counter.GetValue()
		}
	}
	return 0
}

// holds checks the signatures of what is served with the keys that are served, and returns the
// serial.
func holds(t testing.TB, s *dnssec.Signed, z *dnssec.Zone) uint32 {
	t.Helper()
	if s == nil {
		t.Fatal("nothing is served")
	}
	keys := s.Own()[0]
	check := func(owner, variant string, set []dns.RR) {
		sigs := s.Signatures(owner, variant, set[0].Header().Rrtype)
		if len(sigs) == 0 {
			t.Errorf("%s %q has no signature", owner, variant)
		}
		for _, rr := range sigs {
			sig, ok := rr.(*dns.RRSIG), false
			for _, k := range keys {
				if key, is := k.(*dns.DNSKEY); is && key.KeyTag() == sig.KeyTag {
					ok = sig.Verify(key, set) == nil
				}
			}
			if !ok {
				t.Errorf("%s %q: %v does not hold", owner, variant, sig)
			}
		}
	}
	for _, n := range z.Names {
		for _, set := range n.Sets {
			if set[0].Header().Rrtype == dns.TypeSOA {
				set = []dns.RR{s.SOA()}
			}
			check(n.Owner, "", set)
		}
		for _, v := range n.Variants {
			check(n.Owner, v.Name, v.Sets[0])
		}
	}
	check(apex, "", keys)
	return s.SOA().Serial
}

func TestANodeWithoutKeysServesWhatTheSignerPublished(t *testing.T) {
	w := newWorld(t)
	z := zone(t, "www.example.test. 300 IN A 192.0.2.9")
	server := w.place("server", "", dnssec.Policy{})
	if got := server.round(z); got != nil || server.metric("unpublished_sets") == 0 {
		t.Error("it serves before anything was published")
	}
	signer := w.place("signer", w.keys, dnssec.Policy{})
	serial := holds(t, signer.round(z), z)
	if got := holds(t, server.round(z), z); got != serial || got != uint32(w.now.Unix()) {
		t.Errorf("serial %d on the server, %d on the signer", got, serial)
	}
	w.now = w.now.Add(time.Hour)
	signer.round(z)
	if got := holds(t, server.round(z), z); got != serial {
		t.Errorf("the serial went from %d to %d, and nothing changed", serial, got)
	}

	more := zone(t, "www.example.test. 300 IN A 192.0.2.9", "new.example.test. 300 IN A 192.0.2.9")
	if _, err := server.Sign(t.Context(), more); !errors.Is(err, dnssec.ErrUnpublished) {
		t.Errorf("a config that the signer doesn't have: %v", err)
	}
	if n := server.metric("unpublished_sets"); n == 0 {
		t.Error("nobody is told of sets without signatures")
	}
	holds(t, server.round(z), z)
	newer := holds(t, signer.round(more), more)
	if int32(newer-serial) <= 0 {
		t.Errorf("the serial went from %d to %d", serial, newer)
	}
	holds(t, server.round(z), z) // whatever the serial: the old answers
	if got := holds(t, server.round(more), more); got != newer || server.metric("unpublished_sets") != 0 {
		t.Errorf("a server with the new config has serial %d, not %d", got, newer)
	}
}

func TestANodeStartsFromItsOwnCopyWithTheStoreGone(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
	serial := holds(t, signer.round(z), z)
	holds(t, server.round(z), z)
	w.store.Down(true)
	for _, p := range []*place{signer, server} {
		p.start()
		signed, err := p.Sign(t.Context(), z)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if got := holds(t, signed, z); got != serial {
			t.Errorf("%s has serial %d, not %d", p.name, got, serial)
		}
	}
	if n := signer.metric("signatures_total"); n != 0 {
		t.Errorf("the signer made %v signatures anew", n)
	}
	lonely := w.place("lonely", t.TempDir(), dnssec.Policy{})
	signed, err := lonely.Sign(t.Context(), z)
	if err != nil {
		t.Fatalf("a signer without store or copy: %v", err)
	}
	holds(t, signed, z)
}

// tamper changes what is published.
func (w *world) tamper(change func(m *manifest, chunks []chunk)) {
	w.t.Helper()
	e, err := w.memory.Get(w.t.Context(), manifestKey(apex))
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := decode(apex, e.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	var chunks []chunk
	for _, id := range m.Chunks {
		c, err := w.memory.Get(w.t.Context(), chunkKey(apex, id))
		if err != nil {
			w.t.Fatal(err)
		}
		read, err := open(id, c.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		chunks = append(chunks, read)
	}
	m.Epoch++
	change(m, chunks)
	m.Chunks = nil
	for _, c := range chunks {
		c.id = newChunk(c.sigs).id
		m.Chunks = append(m.Chunks, c.id)
		w.write(chunkKey(apex, c.id), bytesOf(c.sigs))
	}
	raw, err := m.encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(manifestKey(apex), raw)
}

func (w *world) write(key string, value []byte) {
	w.t.Helper()
	if _, err := w.memory.Put(w.t.Context(), key, value, store.PutOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestAWrongPublicationIsRefusedAndTheOldOneStays(t *testing.T) {
	for about, harm := range map[string]func(w *world){
		"no manifest at all": func(w *world) { w.write(manifestKey(apex), []byte("{")) },
		"a manifest of another zone": func(w *world) {
			w.tamper(func(m *manifest, _ []chunk) { m.Zone = "example.net." })
		},
		"an older one": func(w *world) { w.tamper(func(m *manifest, _ []chunk) { m.Epoch -= 2 }) },
		"every signature a bit off": func(w *world) {
			w.tamper(func(_ *manifest, chunks []chunk) {
				for i := range chunks[0].sigs {
					chunks[0].sigs[i][dnssec.SignatureSize-1] ^= 1
				}
			})
		},
		"a key that signed nothing": func(w *world) {
			w.tamper(func(m *manifest, _ []chunk) { m.KeyKeys = []uint16{1} })
		},
		"keys without the one that signs": func(w *world) {
			w.tamper(func(m *manifest, _ []chunk) { m.Own = m.Own[1:] })
		},
		"a chunk that is not what it says": func(w *world) {
			w.tamper(func(m *manifest, chunks []chunk) { chunks[0].sigs[0][40] ^= 1 })
			e, err := w.memory.Get(w.t.Context(), manifestKey(apex))
			if err != nil {
				w.t.Fatal(err)
			}
			m, _ := decode(apex, e.Value)
			w.write(chunkKey(apex, m.Chunks[0]), []byte("short"))
		},
	} {
		t.Run(about, func(t *testing.T) {
			w := newWorld(t)
			z := zone(t)
			signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
			serial := holds(t, signer.round(z), z)
			holds(t, server.round(z), z)
			harm(w)
			for range 3 {
				if got := holds(t, server.round(z), z); got != serial {
					t.Errorf("serial %d", got)
				}
			}
			if n := server.metric("publications_refused_total"); n != 1 {
				t.Errorf("%v refused", n)
			}
			w.store.Down(true)
			server.start()
			signed, err := server.Sign(t.Context(), z)
			if err != nil {
				t.Fatalf("after a restart: %v", err)
			}
			holds(t, signed, z)
			w.store.Down(false)
			w.now = w.now.Add(time.Minute)
			more := zone(t, "more.example.test. 300 IN A 192.0.2.9")
			signer.round(more)
			if got := holds(t, server.round(more), more); int32(got-serial) <= 0 {
				t.Errorf("when the signer had mended it: serial %d", got)
			}
		})
	}
}

// strangers replaces all of the zone's keys, as somebody would who can write to the store alone.
func strangers(t *testing.T, w *world, z *dnssec.Zone) *place {
	t.Helper()
	other := newWorld(t)
	other.now = w.now.Add(time.Minute)
	signer := other.place("signer", t.TempDir(), dnssec.Policy{})
	signer.round(z)
	list, err := other.memory.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		w.write(e.Key, e.Value)
	}
	return signer
}

func TestKeysThatNobodyKnowsAreRefusedUnlessTheParentNamesThem(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
	var other *place
	named := false // by the parent
	server.parent = func(context.Context, string) ([]*dns.DS, error) {
		if !named {
			return nil, nil
		}
		ds, err := other.signer.DS()
		return []*dns.DS{ds}, err
	}
	server.start()
	before := holds(t, signer.round(z), z)
	holds(t, server.round(z), z)
	other = strangers(t, w, z)
	if got := holds(t, server.round(z), z); got != before || server.metric("publications_refused_total") != 1 {
		t.Errorf("strange keys were trusted: serial %d", got)
	}
	named = true
	if got := holds(t, server.round(z), z); got == before {
		t.Error("keys that the parent names were not trusted")
	}
}

func TestANodeThatWasAwayForLongTrustsNewKeys(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
	before := holds(t, signer.round(z), z)
	holds(t, server.round(z), z)
	w.now = w.now.Add(away + time.Minute)
	strangers(t, w, z)
	if got := holds(t, server.round(z), z); got == before {
		t.Error("it serves on by keys that may be gone")
	}
}

func TestKeysWaitUntilEveryNodeHasThem(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	policy := dnssec.Policy{Split: true, ZoneKeyLifetime: 24 * time.Hour}
	signer := w.place("signer", w.keys, policy)
	a, b := w.place("a", "", policy), w.place("b", "", policy)
	all := func(places ...*place) {
		t.Helper()
		for range 2 {
			for _, p := range places {
				holds(t, p.round(z), z)
			}
		}
	}
	phase := func() string {
		var out []string
		for _, k := range signer.signer.State().Keys {
			if k.Role == dnssec.ZSK {
				out = append(out, string(k.Phase))
			}
		}
		return strings.Join(out, " ")
	}
	hours := func(n int, places ...*place) {
		for range n {
			w.now = w.now.Add(time.Hour)
			all(places...)
		}
	}
	all(signer, a, b)
	hours(21, signer, a, b)
	hours(1, signer, a)
	if got := phase(); got != "active published" {
		t.Fatalf("after 22 hours: %s", got)
	}
	hours(48, signer, a) // b is cut off before it has the new key
	if got := phase(); got != "active published" {
		t.Fatalf("without b: %s", got)
	}
	all(b)
	hours(1, signer, a, b)
	if got := phase(); got != "active published" {
		t.Fatalf("as soon as b is back: %s", got)
	}
	hours(3, signer, a, b)
	if got := phase(); got != "retired active" {
		t.Fatalf("a while after: %s", got)
	}
	hours(5, signer, a, b)
	if got := phase(); got != "active" {
		t.Fatalf("at the end: %s", got)
	}
}

func TestOfTwoSignersOneLeadsAndTheOtherFollowsUntilItIsGone(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	first := w.place("first", w.keys, dnssec.Policy{})
	serial := holds(t, first.round(z), z)
	second := w.place("second", w.keys, dnssec.Policy{})
	if got := holds(t, second.round(z), z); got != serial || second.leads.Load() {
		t.Errorf("serial %d, leads %t", got, second.leads.Load())
	}
	w.now = w.now.Add(leaseTTL + time.Second)
	if got := holds(t, second.round(z), z); got != serial || !second.leads.Load() {
		t.Errorf("after the first was gone: serial %d, leads %t", got, second.leads.Load())
	}
	if n := second.metric("signatures_total"); n != 0 {
		t.Errorf("it made %v signatures anew", n)
	}
	more := zone(t, "more.example.test. 300 IN A 192.0.2.9")
	newer := holds(t, second.round(more), more)
	if got := holds(t, first.round(more), more); got != newer || first.leads.Load() {
		t.Errorf("the first came back: serial %d instead of %d, leads %t", got, newer, first.leads.Load())
	}
	if err := second.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first.round(more); !first.leads.Load() {
		t.Error("a lease that was given up was not taken")
	}
}

func TestASignerWithOtherKeysDoesNotTakeOver(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	first := w.place("first", w.keys, dnssec.Policy{})
	serial := holds(t, first.round(z), z)
	w.now = w.now.Add(time.Hour)
	stranger := w.place("stranger", t.TempDir(), dnssec.Policy{})
	if got := holds(t, stranger.round(z), z); got != serial || stranger.leads.Load() {
		t.Errorf("serial %d, leads %t", got, stranger.leads.Load())
	}
	if stranger.said != errForeign.Error() {
		t.Errorf("it says %q", stranger.said)
	}
}

func TestAStoreThatForgotEverythingIsFilledAgain(t *testing.T) {
	w := newWorld(t)
	z := zone(t)
	signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
	serial := holds(t, signer.round(z), z)
	holds(t, server.round(z), z)
	w.memory.Wipe()
	holds(t, server.round(z), z)
	signer.round(z)
	fresh := w.place("fresh", "", dnssec.Policy{})
	for _, p := range []*place{server, fresh} {
		if got := holds(t, p.round(z), z); got != serial || p.metric("publications_refused_total") != 0 {
			t.Errorf("%s: serial %d, not %d", p.name, got, serial)
		}
	}
}

func TestPublishingEndsWellWhateverTheStoreDoes(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t)
		signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
		w.store.Randomly(seed, 0.2, 0.2, 0.2)
		var z *dnssec.Zone
		for i := range 12 {
			z = zone(t, fmt.Sprintf("n%d.example.test. 300 IN A 192.0.2.9", i))
			w.now = w.now.Add(time.Minute)
			for _, p := range []*place{signer, server} {
				signed, err := p.Sign(t.Context(), z)
				if err != nil && !errors.Is(err, dnssec.ErrUnpublished) {
					t.Fatal(err)
				}
				if err == nil {
					holds(t, signed, z)
				}
				_, _ = p.sync(t.Context()) // that it fails at times is the point
			}
		}
		w.store.Randomly(0, 0, 0, 0)
		serial := holds(t, signer.round(z), z)
		if got := holds(t, server.round(z), z); got != serial {
			t.Errorf("seed %d: serial %d, not %d", seed, got, serial)
		}
	}
}

func TestOneChangeInALargeZoneIsOneSmallWrite(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("n%d.example.test. 300 IN A 192.0.2.9", i))
	}
	signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
	z := zone(t, names...)
	signer.round(z)
	if server.round(z) == nil {
		t.Error("nothing is served")
	}
	if n := len(signer.cur.Chunks); n != 3 {
		t.Errorf("%d chunks for some 10,000 signatures", n)
	}
	before := map[string]bool{}
	for id := range signer.there {
		before[id] = true
	}
	names[17] = "n17.example.test. 300 IN A 192.0.2.99"
	w.now = w.now.Add(time.Minute)
	z = zone(t, names...)
	signer.round(z)
	written := 0
	for id, c := range signer.chunks {
		if !before[id] {
			written += len(c.sigs)
		}
	}
	if written != 2 { // the address and the SOA
		t.Errorf("%d signatures were written", written)
	}
	if server.round(z) == nil {
		t.Error("nothing is served")
	}
}

func TestChunksOfLittleUseAreWrittenAnewAndTheOldOnesRemoved(t *testing.T) {
	w := newWorld(t)
	signer, server := w.place("signer", w.keys, dnssec.Policy{}), w.place("server", "", dnssec.Policy{})
	for i := range 70 {
		w.now = w.now.Add(time.Minute)
		z := zone(t, fmt.Sprintf("n%d.example.test. 300 IN A 192.0.2.9", i))
		signer.round(z)
		holds(t, server.round(z), z)
	}
	list, err := w.memory.List(t.Context(), zoneKey(apex, "chunk/"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(signer.cur.Chunks); n > maxSmall+1 || len(list) > n+45 {
		t.Errorf("%d chunks, %d in the store", n, len(list))
	}
	own, err := server.local.List(t.Context(), zoneKey(apex, "chunk/"))
	if err != nil || len(own) != len(signer.cur.Chunks) {
		t.Errorf("the server keeps %d chunks of %d, %v", len(own), len(signer.cur.Chunks), err)
	}
}
