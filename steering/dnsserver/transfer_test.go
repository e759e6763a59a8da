package dnsserver_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/dnsserver"
	"pointsman/steering/tsig"
)

var secret = bytes.Repeat([]byte("key."), 8)

func ring(t *testing.T) tsig.Ring {
	t.Helper()
	k, err := tsig.New("k", "hmac-sha256", secret)
	if err != nil {
		t.Fatal(err)
	}
	return tsig.Ring{"k": k}
}

// version is a zone with so many addresses in a file, most of them in the bulk.
func version(t *testing.T, serial uint32, names int, before *dnsserver.Zone, more ...record) *dnsserver.Zone {
	t.Helper()
	var file strings.Builder
	for i := range names {
		fmt.Fprintf(&file, "n%d A 192.0.2.%d\n", i, i%250)
	}
	z, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{Name: "example.test",
		NS: []string{"ns1.example.test"}, SOA: dnsserver.SOA{Serial: serial}, Before: before,
		Records: append([]record{{Name: "ns1", Type: "A", Data: "192.0.2.53"}}, more...),
		File:    &dnsserver.ZoneFile{Name: "f", Data: []byte(file.String())}})
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	return z
}

func exchangeBy(t *testing.T, keys ...string) dnsserver.Exchange {
	return dnsserver.Exchange{Keys: ring(t), MaxTransfers: 2, Zones: map[string]dnsserver.Policy{
		"example.test.": {Keys: keys, To: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}}
}

// transferred asks for a zone, IXFR with a serial above 0, and returns its records and the
// number of messages.
func transferred(t *testing.T, s *dnsserver.Server, serial uint32, key bool) ([]string, int, error) {
	t.Helper()
	m := new(dns.Msg)
	m.SetAxfr("example.test.")
	if serial > 0 {
		m.SetIxfr("example.test.", serial, ".", ".")
	}
	tr := &dns.Transfer{}
	if key {
		m.SetTsig("k.", dns.HmacSHA256, 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{"k.": base64.StdEncoding.EncodeToString(secret)}
	}
	ch, err := tr.In(m, s.Addrs()[0].String())
	if err != nil {
		return nil, 0, err
	}
	var out []string
	messages := 0
	for env := range ch {
		if env.Error != nil {
			return out, messages, env.Error
		}
		messages++
		for _, rr := range env.RR {
			text := strings.ReplaceAll(rr.String(), "\t", " ")
			if soa, ok := rr.(*dns.SOA); ok {
				text = fmt.Sprint("SOA ", soa.Serial)
			}
			out = append(out, text)
		}
	}
	return out, messages, nil
}

func TestALargeZoneIsTransferredWholeInSignedMessages(t *testing.T) {
	const names = 20_000
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{version(t, 7, names, nil)}})
	s.SetExchange(exchangeBy(t, "k"))
	got, messages, err := transferred(t, s, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != names+4 || got[0] != "SOA 7" || got[len(got)-1] != "SOA 7" || messages < 5 {
		t.Errorf("%d records in %d messages, from %q to %q", len(got), messages, got[0],
			got[len(got)-1])
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != names+3 {
		t.Errorf("%d different records", n)
	}
}

func TestATransferIsRefusedToAllOthers(t *testing.T) {
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{version(t, 7, 1, nil)}})
	for _, c := range []struct {
		name   string
		change func(p *dnsserver.Policy)
		key    bool
		ok     bool
	}{
		{"key and network", func(*dnsserver.Policy) {}, true, true},
		{"no key", func(*dnsserver.Policy) {}, false, false},
		{"another key", func(p *dnsserver.Policy) { p.Keys = []string{"other"} }, true, false},
		{"another network", func(p *dnsserver.Policy) {
			p.To = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}, true, false},
		{"a network alone", func(p *dnsserver.Policy) { p.Keys = nil }, false, true},
		{"a key alone", func(p *dnsserver.Policy) { p.To = nil }, true, true},
		{"nobody", func(p *dnsserver.Policy) { *p = dnsserver.Policy{} }, true, false},
	} {
		x := exchangeBy(t, "k")
		p := x.Zones["example.test."]
		c.change(&p)
		x.Zones["example.test."] = p
		s.SetExchange(x)
		_, _, err := transferred(t, s, 0, c.key)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "5") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	x := exchangeBy(t, "k")
	x.MaxTransfers = 0
	s.SetExchange(x)
	if _, _, err := transferred(t, s, 0, true); err == nil {
		t.Error("more transfers than may be at once")
	}
}

func TestIXFRHasWhatChanged(t *testing.T) {
	first := version(t, 7, 50, nil)
	second := version(t, 7, 50, first, record{Name: "a", Type: "A", Data: "192.0.2.1"})
	same := version(t, 100, 50, second, record{Name: "a", Type: "A", Data: "192.0.2.1"})
	third := version(t, 20, 50, same, record{Name: "b", Type: "A", Data: "192.0.2.2"})
	if got := []uint32{second.Serial(), same.Serial(), third.Serial()}; !cmp.Equal(got,
		[]uint32{8, 8, 20}) {
		t.Fatalf("serials %v", got)
	}
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{first}})
	s.SetExchange(exchangeBy(t))
	for _, z := range []*dnsserver.Zone{second, same, third} {
		if err := s.SetZones([]*dnsserver.Zone{z}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := "a.example.test. 300 IN A 192.0.2.1", "b.example.test. 300 IN A 192.0.2.2"
	for _, c := range []struct {
		serial uint32
		want   []string
	}{
		{7, []string{"SOA 20", "SOA 7", "SOA 8", a, "SOA 8", a, "SOA 20", b, "SOA 20"}},
		{8, []string{"SOA 20", "SOA 8", a, "SOA 20", b, "SOA 20"}},
		{20, []string{"SOA 20"}},
		{21, []string{"SOA 20"}},
	} {
		got, _, err := transferred(t, s, c.serial, false)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("since %d (-want +got):\n%s", c.serial, d)
		}
	}
	if got, _, err := transferred(t, s, 3, false); err != nil || len(got) != 50+5 {
		t.Errorf("since an unknown version: %d records, %v", len(got), err)
	}

	m := new(dns.Msg).SetIxfr("example.test.", 7, ".", ".")
	in, _, err := new(dns.Client).Exchange(m, s.Addrs()[0].String())
	if err != nil || len(in.Answer) != 1 || in.Rcode != dns.RcodeSuccess || !in.Authoritative {
		t.Errorf("over UDP: %v, %v", err, in)
	}

	// A version that goes back, or has its number twice, begins a new history.
	if err := s.SetZones([]*dnsserver.Zone{version(t, 20, 50, nil)}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := transferred(t, s, 8, false); err != nil || len(got) != 50+4 {
		t.Errorf("after a number twice: %d records, %v", len(got), err)
	}
}

func TestASlowClientOfATransferIsCutOff(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{version(t, 7, 200_000, nil)},
		TCPIdle: 200 * time.Millisecond, Registerer: reg})
	s.SetExchange(exchangeBy(t))
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if err := (&dns.Conn{Conn: conn}).WriteMsg(new(dns.Msg).SetAxfr("example.test.")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !broken(t, reg); {
		if time.Now().After(deadline) {
			t.Fatal("the slow client still holds its place")
		}
		query(t, s, "udp", "n0.example.test.", "A") // answered meanwhile
	}
}

// broken reports whether one transfer was counted as broken off, and none runs.
func broken(t *testing.T, reg *prometheus.Registry) bool {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count, running := 0.0, 1.0
	for _, f := range all {
		switch f.GetName() {
		case "pointsman_dnsserver_transfers_total":
			for _, m := range f.GetMetric() {
				if m.GetLabel()[1].GetValue() == "broken" {
					count = m.GetCounter().GetValue()
				}
			}
		case "pointsman_dnsserver_transfers_running":
			running = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return count == 1 && running == 0
}

func TestSignedQueriesGetSignedAnswers(t *testing.T) {
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{version(t, 7, 1, nil)}})
	s.SetExchange(exchangeBy(t, "k"))
	good := base64.StdEncoding.EncodeToString(secret)
	bad := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 32))
	for _, c := range []struct {
		name, key, secret, algorithm string
		at                           time.Duration
		fault                        uint16
		rcode                        int
	}{
		{"good", "k.", good, dns.HmacSHA256, 0, 0, dns.RcodeSuccess},
		{"another secret", "k.", bad, dns.HmacSHA256, 0, dns.RcodeBadSig, dns.RcodeNotAuth},
		{"another name", "q.", good, dns.HmacSHA256, 0, dns.RcodeBadKey, dns.RcodeNotAuth},
		{"another algorithm", "k.", good, dns.HmacSHA512, 0, dns.RcodeBadKey, dns.RcodeNotAuth},
		{"long ago", "k.", good, dns.HmacSHA256, -time.Hour, dns.RcodeBadTime, dns.RcodeNotAuth},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg).SetQuestion("n0.example.test.", dns.TypeA)
			m.SetTsig(c.key, c.algorithm, 300, time.Now().Add(c.at).Unix())
			raw, mac, err := dns.TsigGenerate(m, c.secret, "", false)
			if err != nil {
				t.Fatal(err)
			}
			out := roundTrip(t, network, s.Addrs()[0].String(), raw)
			in := new(dns.Msg)
			if err := in.Unpack(out); err != nil {
				t.Fatal(err)
			}
			ts := in.IsTsig()
			if in.Rcode != c.rcode || ts == nil || ts.Error != c.fault || len(in.Question) != 1 {
				t.Errorf("%s over %s: %v", c.name, network, in)
				continue
			}
			if signed := c.fault == 0 || c.fault == dns.RcodeBadTime; signed != (ts.MACSize > 0) {
				t.Errorf("%s over %s: a signature of %d octets", c.name, network, ts.MACSize)
			}
			if c.fault == 0 {
				if err := dns.TsigVerify(out, c.secret, mac, false); err != nil || len(in.Answer) != 1 {
					t.Errorf("%s over %s: %v\n%v", c.name, network, err, in)
				}
			}
		}
	}
}

func roundTrip(t *testing.T, network, address string, raw []byte) []byte {
	t.Helper()
	conn, err := dns.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func TestNOTIFYIsHeededFromPrimariesAlone(t *testing.T) {
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{version(t, 7, 1, nil)}})
	heard := make(chan string, 10)
	set := func(from, key string) {
		s.SetExchange(dnsserver.Exchange{Keys: ring(t), Zones: map[string]dnsserver.Policy{
			"example.test.": {From: []netip.Addr{netip.MustParseAddr(from)}, NotifyKey: key}},
			Notified: func(zone string, _ netip.Addr) { heard <- zone }})
	}
	notify := func() int {
		in, _, err := new(dns.Client).Exchange(new(dns.Msg).SetNotify("Example.test."),
			s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if in.Opcode != dns.OpcodeNotify || !in.Response {
			t.Errorf("%v", in)
		}
		return in.Rcode
	}
	set("127.0.0.1", "")
	if got := notify(); got != dns.RcodeSuccess || len(heard) != 1 || <-heard != "example.test." {
		t.Errorf("from a primary: %d, heard %d", got, len(heard))
	}
	set("127.0.0.1", "k")
	if got := notify(); got != dns.RcodeRefused {
		t.Errorf("unsigned: %d", got)
	}
	set("192.0.2.1", "")
	if got := notify(); got != dns.RcodeRefused || len(heard) != 0 {
		t.Errorf("from somebody else: %d, heard %d", got, len(heard))
	}
}
