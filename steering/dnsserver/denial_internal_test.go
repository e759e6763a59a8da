package dnsserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

// Variants implements picker.
func (f fixed) Variants(host string) []steering.Decision { return f[host] }

// signedState is exampleState with all its zones signed.
func signedState(t testing.TB, policy dnssec.Policy, draw Drawer) *state {
	t.Helper()
	st := exampleState(t, draw)
	const wild = "*.many.example.test."
	table := exampleTable() // a steered wildcard of both kinds
	table[wild] = []steering.Decision{cnameTo(wild, "one", "site.one.invalid.", 0),
		{Backend: "edge", V4: addrs("192.0.2.44"), TTL: 20},
		{Backend: "both", V4: addrs("192.0.2.45"), V6: addrs("2001:db8::45"), TTL: 20}}
	st = st.withTable(table)
	dir := t.TempDir()
	for name, z := range st.zones {
		s, err := dnssec.New(dnssec.Config{Zone: name, Policy: policy, Folder: dir})
		if err != nil {
			t.Fatal(err)
		}
		signed, mistakes := z.SignedBy(s)
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		st.zones[name] = signed
	}
	if err := st.sign(context.Background(), (*published)(nil).serves); err != nil {
		t.Fatal(err)
	}
	return st
}

func doBit(m *dns.Msg) { m.SetEdns0(4096, true) }

// validator checks answers as a validating resolver does, with rules of its own: from the RFCs,
// not from the code that signs.
type validator struct {
	t    testing.TB
	keys map[string][]*dns.DNSKEY
}

func newValidator(t *testing.T, st *state) *validator {
	v := &validator{t: t, keys: make(map[string][]*dns.DNSKEY)}
	for name := range st.zones {
		for _, rr := range ask1(t, st, true, name, "DNSKEY", nil).Answer {
			v.keys[name] = append(v.keys[name], rr.(*dns.DNSKEY))
		}
	}
	return v
}

// set is the records of one owner and type, and the signature that holds for them.
type set struct {
	rrs []dns.RR
	sig *dns.RRSIG
}

// sets checks all signatures of a section. unsigned are sets that may go without.
func (v *validator) sets(rrs []dns.RR, unsigned func(rr dns.RR) bool) []set {
	var out []set
	seen := make(map[string]bool)
	for _, rr := range rrs {
		h := rr.Header()
		key := fmt.Sprint(h.Name, h.Rrtype)
		if h.Rrtype == dns.TypeRRSIG || h.Rrtype == dns.TypeOPT || seen[key] {
			continue
		}
		seen[key] = true
		s := set{}
		for _, o := range rrs {
			if o.Header().Name == h.Name && o.Header().Rrtype == h.Rrtype {
				s.rrs = append(s.rrs, o)
			}
		}
		s.sig = v.signature(s.rrs, rrs)
		if s.sig == nil && !unsigned(rr) {
			v.t.Errorf("no signature holds for %v", rr)
		}
		out = append(out, s)
	}
	return out
}

func (v *validator) signature(rrs, among []dns.RR) *dns.RRSIG {
	for _, rr := range among {
		sig, ok := rr.(*dns.RRSIG)
		if !ok || sig.Hdr.Name != rrs[0].Header().Name || sig.TypeCovered != rrs[0].Header().Rrtype {
			continue
		}
		if sig.Hdr.Ttl != rrs[0].Header().Ttl || sig.OrigTtl < sig.Hdr.Ttl {
			v.t.Errorf("TTL of %v, set has %d", sig, rrs[0].Header().Ttl)
		}
		for _, k := range v.keys[sig.SignerName] {
			if k.KeyTag() == sig.KeyTag && sig.Verify(k, rrs) == nil && sig.ValidityPeriod(time.Now()) {
				return sig
			}
		}
	}
	return nil
}

// less is canonical order (RFC 4034 §6.1) of names without escapes.
func less(a, b string) bool {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return slices.Compare(x, y) < 0
}

// denials are the NSEC or NSEC3 records of an answer that were validated.
type denials struct {
	apex  string
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
}

func (d denials) covered(name string) bool {
	for _, n := range d.nsec {
		owner, next := n.Hdr.Name, n.NextDomain
		if less(owner, name) && (less(name, next) || next == d.apex) && !dns.IsSubDomain(name, next) {
			return true
		}
	}
	return slices.ContainsFunc(d.nsec3, func(n *dns.NSEC3) bool { return n.Cover(name) && !n.Match(name) })
}

// types returns the types of a name, and whether a record proves them. An empty name under NSEC
// is proved by one whose next name lies below it.
func (d denials) types(name string) ([]uint16, bool) {
	for _, n := range d.nsec {
		if n.Hdr.Name == name {
			return n.TypeBitMap, true
		}
		if less(n.Hdr.Name, name) && dns.IsSubDomain(name, n.NextDomain) {
			return nil, true
		}
	}
	for _, n := range d.nsec3 {
		if n.Match(name) {
			return n.TypeBitMap, true
		}
	}
	return nil, false
}

func parents(name string) []string {
	var out []string
	for _, off := range dns.Split(name) {
		out = append(out, name[off:])
	}
	return out
}

// noCloser returns the closest encloser if the denials prove it to be that, or "".
func (d denials) noCloser(name string) string {
	all := parents(name)
	for i := 1; i < len(all); i++ {
		if len(d.nsec3) > 0 {
			if _, ok := d.types(all[i]); ok && d.covered(all[i-1]) {
				return all[i]
			}
			continue
		}
		for _, n := range d.nsec { // the covering one's ends tell the encloser
			for _, end := range []string{n.Hdr.Name, n.NextDomain} {
				if d.covered(name) && dns.IsSubDomain(all[i], end) {
					return all[i]
				}
			}
		}
	}
	return ""
}

// check validates a whole answer and returns what it was, in a word.
func (v *validator) check(m *dns.Msg) string {
	q := m.Question[0]
	dname := func(rr dns.RR) bool { // what follows from a DNAME has no signature of its own
		return rr.Header().Rrtype == dns.TypeCNAME && slices.ContainsFunc(m.Answer, func(o dns.RR) bool {
			return o.Header().Rrtype == dns.TypeDNAME && dns.IsSubDomain(o.Header().Name, rr.Header().Name)
		})
	}
	name, done := q.Name, false
	answers := v.sets(m.Answer, dname)
	authorities := v.sets(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNS })
	var d denials
	for _, s := range authorities {
		switch rr := s.rrs[0].(type) {
		case *dns.NSEC:
			d.nsec, d.apex = append(d.nsec, rr), s.sig.SignerName
		case *dns.NSEC3:
			d.nsec3, d.apex = append(d.nsec3, rr), s.sig.SignerName
			if rr.Iterations != 0 || rr.Salt != "" || rr.Flags != 0 {
				v.t.Errorf("against RFC 9276: %v", rr)
			}
		}
		if len(s.rrs) > 1 && s.rrs[0].Header().Rrtype != dns.TypeNS &&
			s.rrs[0].Header().Rrtype != dns.TypeDS {
			v.t.Errorf("%d records look like one set: %v", len(s.rrs), s.rrs)
		}
	}
	word := ""
	for _, s := range answers {
		h := s.rrs[0].Header()
		if s.sig != nil && int(s.sig.Labels) < dns.CountLabel(h.Name) &&
			!strings.HasPrefix(h.Name, "*.") {
			word += "wildcard "
			all := parents(h.Name) // RFC 5155 §8.8: with NSEC3 the next closer name is covered
			closer := all[len(all)-int(s.sig.Labels)-1]
			if !d.covered(h.Name) && (len(d.nsec3) == 0 || !d.covered(closer)) {
				v.t.Errorf("%s comes from a wildcard, but nothing shows that it doesn't exist\n%v",
					h.Name, m)
			}
		}
		done = done || h.Rrtype == q.Qtype || q.Qtype == dns.TypeANY
		if c, ok := s.rrs[0].(*dns.CNAME); ok && q.Qtype != dns.TypeCNAME {
			name = c.Target
		}
	}
	if len(answers) > 0 && done {
		return word + "positive"
	}
	return word + v.negative(m, d, name)
}

// negative checks that the end of the way is denied as the answer says.
func (v *validator) negative(m *dns.Msg, d denials, name string) string {
	qtype := m.Question[0].Qtype
	lacks := func(types []uint16) bool {
		return !slices.Contains(types, qtype) && !slices.Contains(types, dns.TypeCNAME)
	}
	if m.Rcode == dns.RcodeNameError {
		encloser := d.noCloser(name)
		if encloser == "" || !d.covered("*."+encloser) {
			v.t.Errorf("nothing shows that %s and its wildcard don't exist (encloser %q)\n%v", name,
				encloser, m)
		}
		return "no name"
	}
	if !m.Authoritative || len(m.Ns) > 0 && m.Ns[0].Header().Rrtype == dns.TypeNS {
		cut := m.Ns[0].Header().Name
		for _, rr := range m.Ns {
			if rr.Header().Rrtype == dns.TypeDS {
				return "secure delegation"
			}
		}
		types, ok := d.types(cut)
		if !ok || slices.Contains(types, dns.TypeDS) || slices.Contains(types, dns.TypeSOA) ||
			!slices.Contains(types, dns.TypeNS) {
			v.t.Errorf("nothing shows that %s has no DS\n%v", cut, m)
		}
		return "insecure delegation"
	}
	if !slices.ContainsFunc(parents(name), func(n string) bool { return v.keys[n] != nil }) {
		return "out of our zones"
	}
	types, ok := d.types(name)
	if ok && lacks(types) {
		return "no data"
	}
	encloser := d.noCloser(name)
	types, ok = d.types("*." + encloser)
	if encloser == "" || !ok || !lacks(types) {
		v.t.Errorf("nothing shows that %s has no %s (encloser %q, wildcard's types %v)\n%v", name,
			dns.Type(qtype), encloser, types, m)
	}
	return "no data at a wildcard"
}

func policies() map[string]dnssec.Policy {
	return map[string]dnssec.Policy{
		"one ECDSA key, NSEC":      {},
		"two Ed25519 keys, NSEC":   {Algorithm: dnssec.Ed25519, Split: true},
		"one Ed25519 key, NSEC3":   {Algorithm: dnssec.Ed25519, NSEC3: true},
		"two ECDSA keys, NSEC3":    {Split: true, NSEC3: true},
		"one ECDSA key, withdrawn": {Withdraw: true},
	}
}

func TestEveryKindOfSignedAnswerValidates(t *testing.T) {
	const e = ".example.test."
	for about, policy := range policies() {
		t.Run(about, func(t *testing.T) {
			st := signedState(t, policy, constant(0))
			v := newValidator(t, st)
			for _, c := range []struct{ name, qtype, want string }{
				{"mail" + e, "A", "positive"},
				{"mail" + e, "TXT", "no data"},
				{"mail" + e, "DS", "no data"},
				{"example.test.", "SOA", "positive"},
				{"example.test.", "NS", "positive"},
				{"example.test.", "DNSKEY", "positive"},
				{"example.test.", "CDS", "positive"},
				{"example.test.", "CDNSKEY", "positive"},
				{"example.test.", "MX", "positive"},
				{"example.test.", "A", "positive"}, // steered
				{"example.test.", "AAAA", "no data"},
				{"example.test.", "CAA", "no data"},
				{"example.test.", "DS", "no data"},
				{"example.test.", "ANY", "positive"},
				{"gone" + e, "A", "no name"},
				{"zzz" + e, "A", "no name"},
				{"-" + e, "A", "no name"},
				{"x.y.mail" + e, "A", "no name"},
				{"x.gone" + e, "A", "no name"},
				{"deep" + e, "A", "no data"}, // empty
				{"a.deep" + e, "A", "positive"},
				{"b.deep" + e, "A", "no name"},
				{"down.low.x" + e, "A", "no data"}, // empty above a steered name
				{"x" + e, "AAAA", "no data"},
				{"other.low.x" + e, "AAAA", "no name"},
				{"any.wild" + e, "A", "wildcard positive"},
				{"a.b.c.wild" + e, "TXT", "wildcard positive"},
				{"any.wild" + e, "AAAA", "no data at a wildcard"},
				{"a.b.wild" + e, "MX", "no data at a wildcard"},
				{"there.wild" + e, "TXT", "positive"},
				{"there.wild" + e, "A", "no data"},
				{"x.there.wild" + e, "A", "no name"},
				{"*.wild" + e, "A", "positive"},
				{"*.wild" + e, "AAAA", "no data"},
				{"wild" + e, "A", "no data"},
				{"any.wildalias" + e, "A", "wildcard positive"},
				{"any.wildalias" + e, "TXT", "wildcard no data"},
				{"any.wildalias" + e, "CNAME", "wildcard positive"},
				{"www" + e, "CNAME", "positive"},
				{"out" + e, "A", "out of our zones"},
				{"dangling" + e, "A", "no name"},
				{"tomail" + e, "A", "positive"},
				{"tomail" + e, "TXT", "no data"},
				{"sub" + e, "A", "secure delegation"},
				{"x.sub" + e, "A", "secure delegation"},
				{"sub" + e, "DS", "positive"},
				{"tosub" + e, "A", "secure delegation"},
				{"a.old" + e, "A", "positive"},
				{"b.old" + e, "A", "no name"},
				{"old" + e, "DNAME", "positive"},
				{"old" + e, "A", "no data"},
				{"unknown" + e, "A", "no data"},
				{"svc" + e, "HTTPS", "positive"},
				{"cdn" + e, "A", "out of our zones"}, // a CNAME backend
				{"cdn" + e, "CNAME", "positive"},
				{"v4" + e, "A", "positive"},
				{"v4" + e, "AAAA", "no data"},
				{"v6" + e, "A", "no data"},
				{"v6" + e, "AAAA", "positive"},
				{"both" + e, "TXT", "no data"},
				{"both" + e, "ANY", "positive"},
				{"twice" + e, "A", "positive"},
				{"twice" + e, "AAAA", "no data"},
				{"tostatic" + e, "AAAA", "positive"},
				{"togone" + e, "A", "no name"},
				{"t1.tenants" + e, "A", "wildcard out of our zones"},
				{"t1.tenants" + e, "CNAME", "wildcard positive"},
				{"tenants" + e, "A", "no data"},
				{"child.two.test.", "SOA", "positive"},
				{"child.two.test.", "A", "no data"},
				{"site.two.test.", "A", "positive"},
			} {
				t.Run(c.name+" "+c.qtype, func(t *testing.T) {
					v.t = t
					m := ask1(t, st, true, c.name, c.qtype, doBit)
					if m.Rcode == dns.RcodeServerFailure || m.AuthenticatedData {
						t.Fatalf("%s, ad=%t", dns.RcodeToString[m.Rcode], m.AuthenticatedData)
					}
					if got := v.check(m); got != c.want {
						t.Errorf("it is %q, want %q\n%v", got, c.want, m)
					}
				})
			}
		})
	}
}

// The whole point of signing ahead of time: whichever backend is picked, whatever is asked, the
// answer validates, and what a resolver keeps of one backend denies nothing of another.
func TestEveryVariantOfASteeredNameValidates(t *testing.T) {
	for about, policy := range policies() {
		t.Run(about, func(t *testing.T) {
			seen := make(map[string]bool)
			for draw := range constant(3) {
				st := signedState(t, policy, draw)
				v := newValidator(t, st)
				for _, name := range []string{"cdn.example.test.", "WWW.example.test.",
					"a.many.example.test.", "*.many.example.test.", "zz.many.example.test."} {
					for _, qtype := range []string{"A", "AAAA", "CNAME", "TXT", "HTTPS", "NSEC"} {
						m := ask1(t, st, true, name, qtype, doBit)
						m.Question[0].Name = dns.CanonicalName(name)
						for _, rr := range m.Answer {
							rr.Header().Name = dns.CanonicalName(rr.Header().Name)
						}
						if qtype == "NSEC" { // answered from a chain that is whole
							v.sets(m.Answer, func(dns.RR) bool { return false })
							continue
						}
						seen[fmt.Sprint(name, " ", v.check(m))] = true
					}
				}
			}
			for _, want := range []string{"cdn.example.test. positive", "cdn.example.test. no data",
				"cdn.example.test. out of our zones", "a.many.example.test. wildcard positive",
				"a.many.example.test. no data at a wildcard",
				"zz.many.example.test. no data at a wildcard"} {
				if !seen[want] {
					t.Errorf("no draw gave %q", want)
				}
			}
		})
	}
}

func TestAWholeLinkNeverDeniesWhatAVariantHas(t *testing.T) {
	st := signedState(t, dnssec.Policy{}, constant(0))
	link := st.signed["example.test."].Link("cdn.example.test.")[0].(*dns.NSEC)
	for _, rtype := range []uint16{dns.TypeA, dns.TypeCNAME} {
		if !slices.Contains(link.TypeBitMap, rtype) {
			t.Errorf("%v lacks %s", link, dns.Type(rtype))
		}
	}
	only := st.signed["example.test."].NoData("cdn.example.test.", "edge")[0].(*dns.NSEC)
	if slices.Contains(only.TypeBitMap, dns.TypeCNAME) || slices.Contains(only.TypeBitMap, dns.TypeAAAA) {
		t.Errorf("%v has types that the variant lacks", only)
	}
}

func TestWithoutDOAnswersAreAsIfUnsigned(t *testing.T) {
	plain, signed := exampleState(t, constant(0)), signedState(t, dnssec.Policy{}, constant(0))
	for name := range exampleTable() {
		for _, asked := range []string{name, "x." + name, "no." + name} {
			for _, qtype := range []string{"A", "AAAA", "TXT", "CNAME", "DS"} {
				want := show(ask1(t, plain, true, asked, qtype, nil))
				if got := show(ask1(t, signed, true, asked, qtype, nil)); got != want {
					t.Errorf("%s %s:\n%s\nwant\n%s", asked, qtype, got, want)
				}
			}
		}
	}
}

func TestSignedAnswersThatDoNotFitOverUDPSayTC(t *testing.T) {
	st := signedState(t, dnssec.Policy{Split: true, NSEC3: true}, constant(0))
	small := func(m *dns.Msg) { m.SetEdns0(512, true) }
	m := ask1(t, st, false, "x.gone.example.test.", "A", small)
	if !m.Truncated || len(m.Answer)+len(m.Ns) > 0 {
		t.Errorf("not cut off as a whole: %v", m)
	}
	if m := ask1(t, st, true, "x.gone.example.test.", "A", small); m.Truncated || len(m.Ns) < 6 {
		t.Errorf("over TCP: %v", m)
	}
	if m := ask1(t, st, false, "x.gone.example.test.", "A", doBit); m.Truncated {
		t.Error("a denial doesn't fit into 1232 octets")
	}
}

func TestSignaturesAreAnsweredOnRequest(t *testing.T) {
	for about, policy := range policies() {
		st := signedState(t, policy, constant(0))
		m := ask1(t, st, true, "mail.example.test.", "RRSIG", nil)
		if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeRRSIG {
			t.Errorf("%s: RRSIG: %v", about, m)
		}
		m = ask1(t, st, true, "any.wild.example.test.", "NSEC", doBit)
		newV := newValidator(t, st)
		if policy.NSEC3 {
			if got := newV.check(m); got != "no data at a wildcard" {
				t.Errorf("%s: NSEC: %s %v", about, got, m)
			}
		} else if got := newV.check(m); got != "wildcard positive" {
			t.Errorf("%s: NSEC: %s %v", about, got, m)
		}
	}
}

func TestASteeredAnswerWithoutSignatureIsNotGiven(t *testing.T) {
	st := signedState(t, dnssec.Policy{}, constant(0))
	table := exampleTable()
	table["v4.example.test."] = []steering.Decision{{Backend: "new", V4: addrs("192.0.2.200"), TTL: 20}}
	table["cdn.example.test."] = []steering.Decision{cnameTo("cdn.example.test.", "new", "new.invalid.", 0)}
	next := st.withTable(table)
	for _, name := range []string{"v4.example.test.", "cdn.example.test."} {
		if m := ask1(t, next, true, name, "A", doBit); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: %v", name, m)
		}
		if m := ask1(t, next, true, name, "A", nil); m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s without DO: %v", name, m)
		}
	}
}

func TestRecordsOfTheSignerHaveNoPlaceInASignedZone(t *testing.T) {
	z := mustZone(t, ZoneConfig{Name: "example.test", NS: []string{"ns.example.net"},
		Records: []Record{{Name: "@", Type: "CDS", Data: "0 0 0 00"}, {Name: "a", Type: "A", Data: "192.0.2.1"}}})
	if got := z.CheckSigned(); len(got) != 1 || !strings.Contains(got[0].Message, "CDS") {
		t.Errorf("mistakes: %v", got)
	}
	if got, mistakes := z.SignedBy(nil); got != nil || len(mistakes) != 1 {
		t.Errorf("signed all the same: %v", mistakes)
	}
}
