package dnsserver

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/steering/cookie"
)

// asked packs a query for addresses with DO, and options.
func asked(t testing.TB, name string, change func(*dns.OPT)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.SetEdns0(4096, true)
	change(m.IsEdns0())
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// serverCookie is a cookie of testJar for a client, so many seconds old.
func serverCookie(t testing.TB, from netip.Addr, age int64) []byte {
	t.Helper()
	var whole [cookie.Size]byte
	testJar().Make([]byte("a client"), from, time.Unix(1e9-age, 0), &whole)
	return whole[:]
}

func withCookie(raw []byte) func(*dns.OPT) {
	return func(o *dns.OPT) {
		o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: raw})
	}
}

// options shows the options of an answer: their codes, and their data as far as they are short.
func options(t testing.TB, out []byte) string {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatal(err)
	}
	code := m.Rcode
	s := strings.Replace(dns.RcodeToString[code], "BADSIG", "BADVERS", 1)
	if o := m.IsEdns0(); o != nil {
		s += " opt"
		for _, opt := range o.Option {
			switch o := opt.(type) {
			case *dns.EDNS0_COOKIE:
				s += " cookie"
			case *dns.EDNS0_PADDING:
				s += " padding"
			case *dns.EDNS0_NSID:
				raw, _ := hex.DecodeString(o.Nsid)
				s += fmt.Sprintf(" nsid=%s", raw)
			case *dns.EDNS0_EDE:
				s += fmt.Sprintf(" ede=%d%s", o.InfoCode, o.ExtraText)
			case *dns.EDNS0_TCP_KEEPALIVE:
				s += fmt.Sprintf(" keepalive=%d", o.Timeout)
			default:
				s += fmt.Sprintf(" %d:%s", o.Option(), o)
			}
		}
	}
	return s
}

// responderFor answers on the fast path as far as it can, on full terms and with cookies.
func responderFor(t testing.TB, st func(Drawer) *state) *twin {
	w := newTwin(t, st)
	w.fast.s.terms = fullTerms(t)
	w.fast.s.SetCookies(testJar())
	return w
}

func TestOptionsAreAnswered(t *testing.T) {
	w := responderFor(t, func(d Drawer) *state { return exampleState(t, d) })
	w.fast.s.terms.agent = nil
	local := func(code uint16, octets int) func(*dns.OPT) {
		return func(o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: code, Data: make([]byte, octets)})
		}
	}
	both := func(a, b func(*dns.OPT)) func(*dns.OPT) { return func(o *dns.OPT) { a(o); b(o) } }
	nsid, keepAlive, padding := local(3, 0), local(11, 0), local(12, 5)
	for _, c := range []struct {
		about    string
		change   func(*dns.OPT)
		tcp, tls bool
		want     string
	}{
		{"nothing", func(*dns.OPT) {}, false, false, "NOERROR opt"},
		{"NSID", nsid, false, false, "NOERROR opt nsid=ns-1"},
		{"NSID with data that means nothing", local(3, 4), false, false, "NOERROR opt nsid=ns-1"},
		{"keepalive over UDP", keepAlive, false, false, "NOERROR opt"},
		{"keepalive over TCP", keepAlive, true, false, "NOERROR opt keepalive=100"},
		{"padding over UDP", padding, false, false, "NOERROR opt"},
		{"padding over TCP", padding, true, false, "NOERROR opt"},
		{"padding over TLS", padding, true, true, "NOERROR opt padding"},
		{"TLS without padding", nsid, true, true, "NOERROR opt nsid=ns-1"},
		{"a client cookie", withCookie([]byte("a client")), false, false, "NOERROR opt cookie"},
		{"a bad cookie", withCookie(make([]byte, 24)), false, false, "NOERROR opt cookie"},
		{"a malformed cookie", withCookie(make([]byte, 9)), false, false, "FORMERR opt"},
		{"an empty cookie", withCookie(nil), false, false, "FORMERR opt"},
		{"a malformed cookie of a later version", both(withCookie(make([]byte, 9)),
			func(o *dns.OPT) { o.SetVersion(1) }), false, false, "BADVERS opt"},
		{"a cookie of a later version", both(withCookie(make([]byte, 8)),
			func(o *dns.OPT) { o.SetVersion(1) }), false, false, "BADVERS opt"},
		{"all in one", both(both(nsid, keepAlive), withCookie([]byte("a client"))), true, false,
			"NOERROR opt cookie nsid=ns-1 keepalive=100"},
	} {
		out := w.ask(t, ask{packet: asked(t, "mail.example.test.", c.change), from: clients[0],
			tcp: c.tcp, tls: c.tls})
		if d := cmp.Diff(c.want, options(t, out)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.about, d)
		}
		if strings.Contains(c.want, "padding") != (len(out) == paddingBlock) {
			t.Errorf("%s: %d octets", c.about, len(out))
		}
	}
}

func TestTheCookieOfAnAnswerIsTheClientsToUse(t *testing.T) {
	w := responderFor(t, func(d Drawer) *state { return exampleState(t, d) })
	for _, c := range []struct {
		about   string
		in      []byte
		verdict cookie.Verdict
		proven  bool
		same    bool
	}{
		{"client only", []byte("a client"), cookie.ClientOnly, false, false},
		{"valid", serverCookie(t, clients[0], 60), cookie.Valid, true, true},
		{"valid and old", serverCookie(t, clients[0], 1900), cookie.Valid, true, false},
		{"too old", serverCookie(t, clients[0], 3700), cookie.Bad, false, false},
		{"from the future", serverCookie(t, clients[0], -310), cookie.Bad, false, false},
		{"another client's", serverCookie(t, clients[1], 60), cookie.Bad, false, false},
	} {
		out := w.ask(t, ask{packet: asked(t, "mail.example.test.", withCookie(c.in)),
			from: clients[0]})
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatal(err)
		}
		got := m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
		if w.fast.verdict != c.verdict || w.fast.proven != c.proven ||
			!strings.HasPrefix(got, hex.EncodeToString(c.in[:8])) ||
			(got == hex.EncodeToString(c.in)) != c.same {
			t.Errorf("%s: verdict %d, proven %t, cookie %s", c.about, w.fast.verdict,
				w.fast.proven, got)
		}
		raw, _ := hex.DecodeString(got)
		w.ask(t, ask{packet: asked(t, "mail.example.test.", withCookie(raw)), from: clients[0]})
		if !w.fast.proven {
			t.Errorf("%s: the cookie that went back proves nothing", c.about)
		}
	}
	w.ask(t, ask{packet: asked(t, "mail.example.test.", func(*dns.OPT) {}), from: clients[0], tcp: true})
	if !w.fast.proven || !w.slow.proven {
		t.Error("TCP proves an address")
	}
	w.fast.s.SetCookies(nil)
	out := w.ask(t, ask{packet: asked(t, "mail.example.test.", withCookie(make([]byte, 8))),
		from: clients[0]})
	if strings.Contains(options(t, out), "cookie") || w.fast.proven {
		t.Error("there are cookies though they are off")
	}
}

func TestErrorsAreExplained(t *testing.T) {
	w := newTwin(t, func(d Drawer) *state { return exampleState(t, d) })
	pending := *w.oracle.withTable(nil)
	pending.pending = true
	for _, c := range []struct {
		about, name string
		change      func(*dns.Msg)
		st          *state
		want        string
	}{
		{"a zone that isn't ours", "example.org.", nil, nil, "REFUSED opt ede=20"},
		{"ours", "mail.example.test.", nil, nil, "NOERROR opt"},
		{"a name that isn't there", "no.example.test.", nil, nil, "NXDOMAIN opt"},
		{"a loop", "ping.example.test.", nil, nil, "SERVFAIL opt ede=0alias chain"},
		{"before the first table", "no.example.test.", nil, &pending, "SERVFAIL opt ede=14"},
		{"no data before the first table", "example.test.",
			func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeHTTPS }, &pending,
			"SERVFAIL opt ede=14"},
		{"a transfer", "example.test.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, nil,
			"REFUSED opt ede=21"},
		{"MAILB", "example.test.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMAILB }, nil,
			"NOTIMP opt ede=21"},
		{"TSIG", "example.test.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTSIG }, nil,
			"FORMERR opt ede=30"},
		{"NXNAME", "example.test.", func(m *dns.Msg) { m.Question[0].Qtype = 128 }, nil,
			"FORMERR opt ede=30"},
		{"class CH", "example.test.", func(m *dns.Msg) { m.Question[0].Qclass = 3 }, nil,
			"REFUSED opt ede=21"},
		{"UPDATE", "example.test.", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, nil,
			"REFUSED opt ede=21"},
		{"without EDNS", "example.org.", func(m *dns.Msg) { m.Extra = nil }, nil, "REFUSED"},
	} {
		m := new(dns.Msg)
		m.SetQuestion(c.name, dns.TypeA)
		m.SetEdns0(1232, false)
		if c.change != nil {
			c.change(m)
		}
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		in := ask{packet: packet, from: clients[0]}
		st := c.st
		out := []byte(nil)
		if st == nil {
			out = w.ask(t, in)
		} else if out, _, err = reply(in, 1232, st, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, options(t, out)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.about, d)
		}
	}
}

func TestTheReportAgentIsNamedButNotToItself(t *testing.T) {
	w := responderFor(t, func(d Drawer) *state { return exampleState(t, d) })
	const agent = " 18:mail.example.test."
	for name, want := range map[string]string{"cdn.example.test.": "NOERROR opt" + agent,
		"no.example.test.": "NXDOMAIN opt" + agent, "example.org.": "REFUSED opt" + agent + " ede=20",
		"MAIL.example.test.": "NOERROR opt", "_er.1.x.7._er.mail.EXAMPLE.test.": "NXDOMAIN opt",
		"xmail.example.test.": "NXDOMAIN opt" + agent} {
		got := options(t, w.ask(t, ask{packet: asked(t, name, func(*dns.OPT) {}), from: clients[0],
			tcp: true}))
		if got = strings.ToLower(got); got != strings.ToLower(want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestOnlyWhatTheOperatorToldIsToldOfTheServer(t *testing.T) {
	told := fullTerms(t)
	told.version = `1 "x" \y`
	st := exampleState(t, constant(0))
	for _, c := range []struct {
		name  string
		qtype uint16
		terms terms
		want  string
	}{
		{"version.bind.", dns.TypeTXT, terms{}, "REFUSED"},
		{"id.server.", dns.TypeTXT, terms{}, "REFUSED"},
		{"VERSION.bind.", dns.TypeTXT, told, `NOERROR "1 \"x\" \\y"`},
		{"version.server.", dns.TypeANY, told, `NOERROR "1 \"x\" \\y"`},
		{"version.bind.", dns.TypeA, told, "REFUSED"},
		{"id.server.", dns.TypeTXT, told, `NOERROR "ns-1"`},
		{"hostname.bind.", dns.TypeTXT, told, `NOERROR "ns-1"`},
		{"authors.bind.", dns.TypeTXT, told, "REFUSED"},
	} {
		m := new(dns.Msg)
		m.SetQuestion(c.name, c.qtype)
		m.Question[0].Qclass = dns.ClassCHAOS
		packet, _ := m.Pack()
		in := ask{packet: packet, from: clients[0]}
		q, v := parseQuery(packet, in.from)
		out, _, err := c.terms.respond(func(*query, *response) {}, &q, v, in, proof{}, st, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		a := new(dns.Msg)
		if err := a.Unpack(out); err != nil {
			t.Fatal(err)
		}
		got := dns.RcodeToString[a.Rcode]
		for _, rr := range a.Answer {
			got += strings.TrimPrefix(rr.String(), rr.Header().String()[:len(rr.Header().String())-1])
		}
		got = strings.ReplaceAll(got, "\t", " ")
		if got != c.want || (a.Rcode == 0) != a.Authoritative {
			t.Errorf("%s %s: got %s, aa %t, want %s", c.name, dns.Type(c.qtype), got,
				a.Authoritative, c.want)
		}
	}
}

func TestTermsAreChecked(t *testing.T) {
	for about, c := range map[string]Config{
		"NSID": {NSID: strings.Repeat("x", 65)}, "version": {Version: strings.Repeat("x", 256)},
		"bound": {Amplification: Amplification{Signed: -1}}, "agent": {ReportAgent: "a..b"},
		"root agent": {ReportAgent: "."},
	} {
		if _, err := newTerms(c); err == nil {
			t.Errorf("%s: taken", about)
		}
	}
}
