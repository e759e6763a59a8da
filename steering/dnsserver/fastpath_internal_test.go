package dnsserver

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/internal/secret"
	"pointsman/steering"
	"pointsman/steering/cookie"
)

// salted draws by what it is asked and a salt, so that two paths draw alike.
type salted struct{ salt *uint64 }

func (s salted) Next(sequence uint64, client netip.Prefix, qtype uint16, now time.Time) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, sequence, client, qtype, now.Unix(), *s.salt)
	return h.Sum64()
}

// twin answers each query by both paths: the fast one, with a memo that it fills, and the
// ordinary one alone.
type twin struct {
	fast   *responder
	slow   *responder
	with   *state
	oracle *state
	salt   uint64
	copied int // answers that came from the memo
}

func newTwin(t testing.TB, st func(Drawer) *state) *twin {
	m, err := newMetrics(nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{UDPSize: 1232}, metrics: m, log: slog.New(slog.DiscardHandler),
		terms: terms{udpSize: 1232}}
	w := &twin{fast: s.newResponder(1), slow: s.newResponder(1)}
	w.oracle = st(salted{&w.salt})
	with := *w.oracle
	with.memo = newMemo(&with, nil)
	w.with = &with
	return w
}

// ask compares the two paths three times, so that what the first learned, the others may copy. It
// returns the last answer.
func (w *twin) ask(t testing.TB, in ask) (out []byte) {
	t.Helper()
	now := time.Unix(1e9, 0)
	for range 3 {
		w.salt++
		want, o, err := w.slow.reply(func(*query, *response) {}, in, w.oracle, now)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(in.packet)
		w.fast.out = make([]byte, maxPrepared)
		got := w.fast.answer(in, w.with, now)
		if !bytes.Equal(before, in.packet) {
			t.Fatal("the packet was changed")
		}
		if w.fast.proven != w.slow.proven || w.fast.verdict != w.slow.verdict {
			t.Fatalf("packet % x: proven %t and %t, cookie %d and %d", in.packet, w.fast.proven,
				w.slow.proven, w.fast.verdict, w.slow.verdict)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("packet % x (%q) from %v, tcp %t:\nfast     % x\nordinary % x", in.packet,
				in.packet, in.from, in.tcp, got, want)
		}
		if len(got) > 0 && &got[0] == &w.fast.out[0] {
			w.copied++
			if o.verdict != accepted || o.empty || o.truncated {
				t.Fatalf("packet % x was no case for the memo: %+v", in.packet, o)
			}
		}
		out = got
	}
	if n := w.fast.s.metrics.panics.Load(); n > 0 {
		t.Fatalf("packet % x: a panic", in.packet)
	}
	return out
}

// questions makes queries about a state's names, and about others near to them.
type questions struct {
	*rand.Rand
	names []string
}

func newQuestions(st *state, seed uint64) *questions {
	q := &questions{Rand: rand.New(rand.NewPCG(seed, 1))}
	for _, z := range st.zones {
		for name := range z.nodes {
			q.names = append(q.names, name)
		}
		if soa := z.negative; soa != nil {
			q.names = append(q.names, soa.Ns, soa.Mbox)
		}
	}
	q.names = append(q.names, sortedKeys(st.names.at)...)
	q.names = append(q.names, sortedKeys(st.names.above)...)
	q.names = append(q.names, ".", "test.", "elsewhere.invalid.", "xn--nxasmq6b.example.test.")
	slices.Sort(q.names)
	return q
}

var (
	strangeLabels = []string{"x", "*", "www", "cdn", "a.b", "_tcp", `a\.b`, `\000`, `\255\\`, "@",
		"ns1", "hostmaster", "mail", `\065`, strings.Repeat("l", 63), "X-y", "é"}
	askedTypes = []uint16{1, 1, 28, 5, 65, 2, 6, 16, 15, 33, 257, 12, 43, 255, 48, 46, 47, 64, 0,
		39, 41, 250, 251, 252, 253, 65400, 99}
)

func (q *questions) name() string {
	name := q.names[q.IntN(len(q.names))]
	for q.IntN(2) == 0 {
		name = strangeLabels[q.IntN(len(strangeLabels))] + "." + strings.TrimPrefix(name, ".")
	}
	return name
}

func (q *questions) packet() []byte {
	m := new(dns.Msg)
	name := q.name()
	m.SetQuestion(name, askedTypes[q.IntN(len(askedTypes))])
	m.RecursionDesired, m.CheckingDisabled = q.IntN(2) == 0, q.IntN(4) == 0
	m.AuthenticatedData, m.Zero, m.RecursionAvailable = q.IntN(8) == 0, q.IntN(8) == 0,
		q.IntN(8) == 0
	if q.IntN(40) == 0 {
		m.Question[0].Qclass = uint16(q.IntN(256))
	}
	if q.IntN(3) > 0 {
		m.SetEdns0([]uint16{0, 512, 600, 1232, 4096, 65535}[q.IntN(6)], q.IntN(2) == 0)
		q.options(m.IsEdns0())
	}
	packet, err := m.Pack()
	if err != nil {
		return nil
	}
	q.mixCase(packet)
	if q.IntN(20) == 0 {
		packet[q.IntN(len(packet))] ^= 1 << q.IntN(8)
	}
	return packet
}

func (q *questions) options(opt *dns.OPT) {
	if q.IntN(30) == 0 {
		opt.SetVersion(1)
	}
	if q.IntN(30) == 0 {
		opt.Hdr.Ttl |= 1 << q.IntN(15) // flags that nobody knows
	}
	subnets := []string{"00011800c0a801", "00011900c0a80180", "00022000" + "20010db8", "00010000",
		"00020000", "00000000", "00011800c0a8", "00011700c0a801", "00012000c0a80101",
		"00011808c0a801", "00026100" + "00000000000000000000ffff80", "00010100" + "80", "0001"}
	for q.IntN(2) == 0 {
		code, data := uint16(8), subnets[q.IntN(len(subnets))]
		raw, _ := hex.DecodeString(data)
		switch q.IntN(10) {
		case 0, 1, 2:
			code, raw = 10, q.cookie()
		case 3, 4, 5:
			code = []uint16{3, 11, 12, 15, 18, 65001, uint16(q.IntN(20))}[q.IntN(7)]
			raw = make([]byte, []int{0, 0, 2, 8, q.IntN(300)}[q.IntN(5)])
		}
		opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: code, Data: raw})
	}
}

// cookie makes the data of a cookie option: the client's, one with a server cookie, or anything.
// Half of the server cookies are for the first of clients.
func (q *questions) cookie() []byte {
	raw := make([]byte, q.IntN(45))
	switch q.IntN(4) {
	case 0:
		return raw
	case 1:
		return raw[:min(8, len(raw))]
	}
	from, jar := clients[q.IntN(2)], testJar()
	if q.IntN(5) == 0 {
		jar = cookie.NewJar(cookie.NewKey())
	}
	var whole [cookie.Size]byte
	made := time.Unix(1e9+400-q.Int64N(4200), 0)
	jar.Make([]byte("a client"), from, made, &whole)
	return whole[:]
}

// testJar returns a jar that has the same keys each time.
func testJar() *cookie.Jar {
	a, _ := cookie.ParseKey(secret.New("00112233445566778899aabbccddeeff"))
	b, _ := cookie.ParseKey(secret.New("ffeeddccbbaa99887766554433221100"))
	return cookie.NewJar(a, b)
}

// fullTerms are terms with everything that there is.
func fullTerms(t testing.TB) terms {
	all, err := newTerms(Config{UDPSize: 1232, NSID: "ns-1", Version: "1", TCPIdle: 10 * time.Second,
		ReportAgent: "mail.example.test", Amplification: Amplification{Unsigned: 4, Signed: 12}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mixCase writes half of the letters of the question in upper case.
func (q *questions) mixCase(packet []byte) {
	for i := headerSize; i < len(packet)-4 && packet[i] != 0; i += int(packet[i]) + 1 {
		for j := i + 1; j <= i+int(packet[i]) && j < len(packet); j++ {
			if c := packet[j] | 0x20; 'a' <= c && c <= 'z' && q.IntN(2) == 0 {
				packet[j] ^= 0x20
			}
		}
	}
}

var clients = []netip.Addr{netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("2001:db8::9"),
	netip.MustParseAddr("::ffff:198.51.100.7")}

func TestTheFastPathAnswersAsTheOrdinaryOneDoes(t *testing.T) {
	for about, st := range twinStates(t) {
		t.Run(about, func(t *testing.T) {
			w := newTwin(t, st)
			q := newQuestions(w.oracle, 7)
			for i := range 5000 {
				if i == 2500 { // from here on with all that can be turned on
					w.fast.s.terms = fullTerms(t)
					w.fast.s.SetCookies(testJar())
				}
				if packet := q.packet(); packet != nil {
					tcp := q.IntN(4) == 0
					w.ask(t, ask{packet: packet, from: clients[q.IntN(3)], tcp: tcp,
						tls: tcp && q.IntN(2) == 0})
				}
			}
			if w.copied < 2000 {
				t.Errorf("only %d of 15000 answers came from the memo", w.copied)
			}
		})
	}
}

func twinStates(t testing.TB) map[string]func(Drawer) *state {
	states := plainStates(t)
	for about, policy := range policies() {
		states["signed, "+about] = func(d Drawer) *state { return signedState(t, policy, d) }
	}
	return states
}

func plainStates(t testing.TB) map[string]func(Drawer) *state {
	return map[string]func(Drawer) *state{
		"every kind of name": func(d Drawer) *state { return exampleState(t, d) },
		"spread and sticky":  func(d Drawer) *state { return realState(t, d, 1) },
		"many records":       func(d Drawer) *state { return bigState(t, 43) },
		"nested zones, odd names": func(d Drawer) *state {
			ns := []string{"ns1.other.invalid"}
			return newState([]*Zone{
				mustZone(t, ZoneConfig{Name: "test", NS: ns, Records: []Record{
					{Name: "example", Type: "NS", Data: "ns1.example.test"},
					{Name: "below.here.example", Type: "A", Data: "192.0.2.1"},
					{Name: `dot\.ted`, Type: "A", Data: "192.0.2.1"}}}),
				mustZone(t, ZoneConfig{Name: "example.test", NS: ns, SOA: SOA{
					MName: "primary.not.there.example.test", MBox: "a.b@not.there.example.test"},
					Records: []Record{{Name: "ns1", Type: "A", Data: "192.0.2.1"},
						{Name: "there", Type: "A", Data: "192.0.2.1"}}}),
			}, nil, d)
		},
	}
}

// realState steers names of one zone by a compiled table, with one backend's weight changed by
// version.
func realState(t testing.TB, d Drawer, version uint64) *state {
	return newState([]*Zone{mustZone(t, exampleConfig())}, realTable(t, version), d)
}

func realTable(t testing.TB, version uint64) *steering.Table {
	spec := &steering.Spec{
		Backends: []steering.Backend{
			{Name: "a", CNAME: "site.a.invalid."}, {Name: "b", CNAME: "mail.example.test."},
			{Name: "c", CNAME: "hop.example.test."},
			{Name: "d", Addresses: addrs("192.0.2.1", "192.0.2.2", "2001:db8::1")},
			{Name: "e", Addresses: addrs("192.0.2.3")},
		},
		Pools: []steering.Pool{{Name: "all", Members: []steering.Member{{Backend: "a", Weight: 3},
			{Backend: "b", Weight: uint32(version)}, {Backend: "c", Weight: 2},
			{Backend: "d", Weight: 2}, {Backend: "e", Weight: 1}}},
			{Name: "addresses", Members: []steering.Member{{Backend: "d", Weight: 1},
				{Backend: "e", Weight: 1}}},
			{Name: "names", Members: []steering.Member{{Backend: "a", Weight: 1},
				{Backend: "b", Weight: 1}}}},
	}
	for name, pool := range map[string]string{"cdn": "all", "hop": "addresses", "w": "addresses",
		"names": "names"} {
		spec.Hosts = append(spec.Hosts, steering.Host{Name: name + ".example.test.",
			TTL: 20 * time.Second, Pools: []string{pool}, Stickiness: steering.Spread},
			steering.Host{Name: name + ".sticky.example.test.", TTL: 30 * time.Second,
				Pools: []string{pool}, Stickiness: steering.Sticky})
	}
	table, err := steering.Compile(steering.Inputs{Version: version, Now: time.Unix(1, 0),
		Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func FuzzTheFastPathAnswersAsTheOrdinaryOneDoes(f *testing.F) {
	q := newQuestions(exampleState(f, constant(0)), 1)
	for range 100 {
		f.Add(q.packet(), false)
	}
	w := newTwin(f, func(d Drawer) *state { return exampleState(f, d) })
	w.fast.s.terms = fullTerms(f)
	w.fast.s.SetCookies(testJar())
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		w.ask(t, ask{packet: packet, from: clients[0], tcp: tcp, tls: tcp})
	})
}

func TestAMemoGrowsWithTheZonesAndNotWithTheQueries(t *testing.T) {
	w := newTwin(t, func(d Drawer) *state { return realState(t, d, 1) })
	q := &questions{Rand: rand.New(rand.NewPCG(3, 3)), names: []string{"example.test.",
		"mail.example.test.", "cdn.example.test.", "elsewhere.test."}}
	size := func() (n int) {
		for _, cells := range w.with.memo.cells {
			for i := range cells {
				if cells[i].Load() != nil {
					n++
				}
			}
		}
		return n
	}
	for range 5000 {
		m := new(dns.Msg)
		m.SetQuestion(fmt.Sprintf("r%x.%s", q.Uint64(), q.names[q.IntN(4)]),
			askedTypes[q.IntN(10)])
		packet, _ := m.Pack()
		w.ask(t, ask{packet: packet, from: clients[0]})
	}
	if n, denials := size(), len(w.with.memo.denials); n > 4 || denials > 6 {
		t.Errorf("%d names and %d denials are remembered after 5000 random names", n, denials)
	}
	if w.copied < 3000 {
		t.Errorf("only %d answers were copied", w.copied)
	}
}

func TestAMemoOutlivesTablesOfTheSameHosts(t *testing.T) {
	w := newTwin(t, func(d Drawer) *state { return realState(t, d, 1) })
	q := newQuestions(w.oracle, 5)
	for version := range uint64(20) {
		table := realTable(t, version+1)
		kept := w.with.memo
		w.oracle, w.with = w.oracle.withTable(table), w.with.withTable(table)
		if w.with.memo != kept {
			t.Fatal("the memo was dropped")
		}
		for range 1000 {
			if packet := q.packet(); packet != nil {
				w.ask(t, ask{packet: packet, from: clients[0]})
			}
		}
	}
	st := w.with.withTable(exampleTable())
	if st.memo == w.with.memo {
		t.Error("a memo must not outlive its steered names")
	}
}

func TestEveryFieldOfADecisionIsKnownToTheMemo(t *testing.T) {
	base := steering.Decision{Host: "h.", Backend: "b", CNAME: "c.", V4: addrs("192.0.2.1"),
		V6: addrs("2001:db8::1"), HTTPS: &steering.HTTPS{Priority: 1}, TTL: 1}
	var differ []string
	for i := range reflect.TypeFor[steering.Decision]().NumField() {
		other := base
		f := reflect.ValueOf(&other).Elem().Field(i)
		switch f.Kind() {
		case reflect.String:
			f.SetString("other")
		case reflect.Slice, reflect.Pointer:
			f.Set(reflect.Zero(f.Type()))
		default:
			f.SetUint(77)
		}
		if !sameAnswer(&base, &other) {
			differ = append(differ, reflect.TypeFor[steering.Decision]().Field(i).Name)
		}
	}
	want := []string{"Backend", "CNAME", "V4", "V6", "HTTPS", "TTL"}
	if d := cmp.Diff(want, differ); d != "" {
		t.Errorf("fields that tell answers apart (-want +got):\n%s", d)
	}
	// Host is the entry's own, Scope goes into OPT, and the others only say why.
	known := append(want, "Host", "Place", "Pool", "Reason", "Scope")
	for _, f := range reflect.VisibleFields(reflect.TypeFor[steering.Decision]()) {
		if !slices.Contains(known, f.Name) {
			t.Errorf("does the new field %s change what is answered?", f.Name)
		}
	}
}

// plain packs a query; with EDNS and the data of a client subnet, or none for "-".
func plain(t testing.TB, name string, qtype uint16, subnet string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	switch subnet {
	case "":
	case "-":
		m.SetEdns0(1232, false)
	default:
		setSubnet(m, subnet)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(packet, 7)
	return packet
}

// rich packs a query with a valid cookie and all other options.
func rich(t testing.TB, name string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	setSubnet(m, "00011800c0a801")
	var whole [cookie.Size]byte
	testJar().Make([]byte("a client"), clients[0], time.Unix(1e9-2000, 0), &whole)
	o := m.IsEdns0()
	for code, data := range map[uint16][]byte{3: nil, 10: whole[:], 11: nil, 12: make([]byte, 9),
		65001: []byte("?")} {
		o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: code, Data: data})
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// commonQueries are what the fast path is for.
func commonQueries(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"steered, CNAME":   plain(t, "names.example.test.", dns.TypeA, "00011800c0a801"),
		"steered, address": plain(t, "w.example.test.", dns.TypeA, "-"),
		"sticky":           plain(t, "w.sticky.example.test.", dns.TypeA, "00011800c0a801"),
		"static":           plain(t, "MAIL.example.test.", dns.TypeA, ""),
		"no such type":     plain(t, "mail.example.test.", dns.TypeTXT, "-"),
		"no such name":     plain(t, "nx0123456.example.test.", dns.TypeA, "-"),
		"no such zone":     plain(t, "example.com.", dns.TypeA, "-"),
		"every option":     rich(t, "w.example.test."),
	}
}

func BenchmarkFastPath(b *testing.B) {
	w := newTwin(b, func(Drawer) *state { return realState(b, steering.NewDraws(1), 1) })
	w.fast.out = make([]byte, maxPrepared)
	w.fast.s.SetCookies(testJar())
	for name, packet := range commonQueries(b) {
		b.Run(name, func(b *testing.B) {
			w.fast.s.terms = terms{udpSize: 1232, most: Amplification{Unsigned: 4, Signed: 12}}
			if name == "every option" {
				w.fast.s.terms = fullTerms(b)
			}
			in, now := ask{packet: packet, from: clients[0]}, time.Unix(1e9, 0)
			for range 100 {
				w.fast.answer(in, w.with, now)
			}
			b.ReportAllocs()
			for b.Loop() {
				if n, _ := w.fast.fast(in, w.with, now); n == 0 {
					b.Fatal("not from the memo")
				}
			}
		})
	}
}
