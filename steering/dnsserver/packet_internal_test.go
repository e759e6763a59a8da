package dnsserver

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// summary shows an answer and the OPT record in it.
func summary(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	s := fmt.Sprintf("%s %s q=%d", dns.OpcodeToString[m.Opcode],
		strings.ReplaceAll(show(m), "\n", " | "), len(m.Question))
	s = strings.Replace(s, "BADSIG", "BADVERS", 1) // both are 16; only one can come here
	if o := m.IsEdns0(); o != nil {
		s += fmt.Sprintf(" opt v%d do=%t size=%d", o.Version(), o.Do(), o.UDPSize())
		for _, opt := range o.Option {
			s += fmt.Sprintf(" %d:%s", opt.Option(), opt)
		}
	}
	return s
}

func TestHeadersAndOptionsAreAnsweredAsTheRFCsSay(t *testing.T) {
	const mail = "mail.example.test. 60 IN A 192.0.2.25"
	st := exampleState(t, constant(0))
	edns := func(change func(*dns.OPT)) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.SetEdns0(4096, false)
			change(m.IsEdns0())
		}
	}
	subnet := func(raw string) func(*dns.Msg) {
		return func(m *dns.Msg) { setSubnet(m, raw) }
	}
	local := func(code uint16, data string) func(*dns.Msg) {
		return edns(func(o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: code, Data: []byte(data)})
		})
	}
	for _, c := range []struct {
		about  string
		change func(*dns.Msg)
		want   string
	}{
		{"plain", func(m *dns.Msg) { m.RecursionDesired = false }, "QUERY NOERROR aa | " + mail +
			" q=1"},
		{"a response", func(m *dns.Msg) { m.Response = true }, "silence"},
		{"flags: RD and CD come back, AD, Z, TC, RA, AA don't", func(m *dns.Msg) {
			m.CheckingDisabled, m.AuthenticatedData, m.Zero = true, true, true
			m.Truncated, m.RecursionAvailable, m.Authoritative = true, true, true
		}, "QUERY NOERROR aa rd cd | " + mail + " q=1"},
		{"EDNS", edns(func(*dns.OPT) {}),
			"QUERY NOERROR aa rd | " + mail + " q=1 opt v0 do=false size=1232"},
		{"DO comes back", edns(func(o *dns.OPT) { o.SetDo() }),
			"QUERY NOERROR aa rd | " + mail + " q=1 opt v0 do=true size=1232"},
		{"unknown EDNS flags don't", edns(func(o *dns.OPT) { o.Hdr.Ttl |= 0x40 }),
			"QUERY NOERROR aa rd | " + mail + " q=1 opt v0 do=false size=1232"},
		{"EDNS version 1", edns(func(o *dns.OPT) { o.SetVersion(1); o.SetDo() }),
			"QUERY BADVERS rd q=1 opt v0 do=true size=1232"},
		{"EDNS version 1 with a bad subnet", func(m *dns.Msg) {
			setSubnet(m, "00011801c0a801")
			m.IsEdns0().SetVersion(1)
		}, "QUERY BADVERS rd q=1 opt v0 do=false size=1232"},
		{"an unknown option", local(100, "hello"),
			"QUERY NOERROR aa rd | " + mail + " q=1 opt v0 do=false size=1232"},
		{"NSID, cookies and keepalive are ignored", edns(func(o *dns.OPT) {
			o.Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
				&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
				&dns.EDNS0_LOCAL{Code: dns.EDNS0TCPKEEPALIVE}}
		}), "QUERY NOERROR aa rd | " + mail + " q=1 opt v0 do=false size=1232"},
		{"two OPT records", func(m *dns.Msg) { m.SetEdns0(1232, false); m.SetEdns0(1232, false) },
			"QUERY FORMERR rd q=0"},
		{"OPT in the answer section", func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.Answer, m.Extra = m.Extra, nil
		}, "QUERY FORMERR rd q=0"},
		{"OPT of another owner", edns(func(o *dns.OPT) { o.Hdr.Name = "x." }),
			"QUERY FORMERR rd q=0"},
		{"a subnet, static name: scope 0", subnet("00011800c0a801"), "QUERY NOERROR aa rd | " +
			mail + " q=1 opt v0 do=false size=1232 8:192.168.1.0/24/0"},
		{"a subnet of IPv6", subnet("00023000" + "20010db80001"), "QUERY NOERROR aa rd | " +
			mail + " q=1 opt v0 do=false size=1232 8:[2001:db8:1::]/48/0"},
		{"a subnet of length 0", subnet("00010000"), "QUERY NOERROR aa rd | " +
			mail + " q=1 opt v0 do=false size=1232 8:0.0.0.0/0/0"},
		{"a subnet without a family", subnet("00000000"), "QUERY NOERROR aa rd | " +
			mail + " q=1 opt v0 do=false size=1232 8:0.0.0.0/0/0"},
		{"a subnet with a scope", subnet("00011808c0a801"),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet with bits beyond its length", subnet("00011700c0a801"),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet with too many octets", subnet("00011800c0a80100"),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet with too few octets", subnet("00011800c0a8"),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet that is too long for IPv4", subnet("00012100c0a8010100"),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet that is too long for IPv6", subnet("00028100" + strings.Repeat("00", 17)),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet of an unknown family", subnet("00030800c0"),
			"QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"a subnet cut off", subnet("000118"), "QUERY FORMERR rd q=1 opt v0 do=false size=1232"},
		{"class CH", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
			"QUERY REFUSED rd q=1"},
		{"class ANY", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY },
			"QUERY REFUSED rd q=1"},
		{"no question", func(m *dns.Msg) { m.Question = nil }, "QUERY FORMERR rd q=0"},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
			"QUERY FORMERR rd q=0"},
		{"an answer in the query", func(m *dns.Msg) {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: 1, Class: 1},
				A: []byte{1, 2, 3, 4}}}
		}, "QUERY FORMERR rd q=0"},
		{"NOTIFY", func(m *dns.Msg) { m.SetNotify("example.test.") }, "NOTIFY REFUSED q=1"},
		{"UPDATE", func(m *dns.Msg) { m.SetUpdate("example.test.") }, "UPDATE REFUSED q=1"},
		{"NOTIFY that can't be read keeps its opcode", func(m *dns.Msg) {
			m.SetNotify("example.test.")
			m.Question = nil
		}, "NOTIFY FORMERR q=0"},
		{"STATUS", func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }, "STATUS NOTIMP q=0"},
		{"an unknown opcode with all flags", func(m *dns.Msg) {
			m.Opcode, m.CheckingDisabled, m.AuthenticatedData, m.Zero = 15, true, true, true
			m.RecursionAvailable, m.Truncated, m.Authoritative = true, true, true
		}, " NOTIMP q=0"},
	} {
		t.Run(c.about, func(t *testing.T) {
			got := summary(ask1(t, st, false, "mail.example.test.", "A", c.change))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestTheScopeIsTheDecisions(t *testing.T) {
	st := exampleState(t, constant(0))
	for _, c := range []struct{ name, raw, want string }{
		{"cdn.example.test.", "00011800c0a801", "00011818c0a801"},
		{"WWW.example.test.", "00011800c0a801", "00011818c0a801"},
		{"twice.example.test.", "00011800c0a801", "00011810c0a801"}, // the longer of the chain
		{"cdn.example.test.", "00010000", "00010000"},               // asked for nobody
		{"cdn.example.test.", "00000000", "00000000"},
		{"cdn.example.test.", "00023800" + "20010db8000100", "00023818" + "20010db8000100"},
	} {
		m := new(dns.Msg)
		m.SetQuestion(c.name, dns.TypeA)
		setSubnet(m, c.raw)
		packet, _ := m.Pack()
		out, _, err := reply(ask{packet: packet, from: netip.IPv4Unspecified()}, 1232, st,
			time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		// The option is the last thing in the answer: code, length, data.
		want := fmt.Sprintf("0008%04x%s", len(c.want)/2, c.want)
		if got := hex.EncodeToString(out); !strings.HasSuffix(got, want) {
			t.Errorf("%s with %s: answer %s doesn't end in %s", c.name, c.raw, got, want)
		}
	}
}

func TestTheQuestionComesBackAsItWasAsked(t *testing.T) {
	st := exampleState(t, constant(0))
	for _, name := range []string{"mAiL.eXaMpLe.TeSt.", "CDN.example.TEST.", "nO.example.test.",
		`we\.i\032rd\001.Example.test.`, "ww.EXAMPLE.org.", "ToMail.Example.Test."} {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := reply(ask{packet: packet, from: netip.IPv4Unspecified()}, 1232, st,
			time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out[12:len(packet)], packet[12:]) {
			t.Errorf("%s: the question changed: % x", name, out[12:len(packet)])
		}
		// All else is what a lower-case question gets.
		plain := bytes.Clone(packet)
		for i, b := range plain[12 : len(packet)-4] {
			if 'A' <= b && b <= 'Z' {
				plain[12+i] += 'a' - 'A'
			}
		}
		want, _, err := reply(ask{packet: plain, from: netip.IPv4Unspecified()}, 1232, st,
			time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		copy(want[12:], packet[12:])
		if !bytes.Equal(out, want) {
			t.Errorf("%s: the answer depends on the case:\n% x\n% x", name, out, want)
		}
		var a dns.Msg
		if err := a.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if len(a.Answer) > 0 && a.Answer[0].Header().Name != a.Question[0].Name {
			t.Errorf("%s: the owner came back as %s", name, a.Answer[0].Header().Name)
		}
	}
}

func TestPacketsThatCannotBeRead(t *testing.T) {
	st := exampleState(t, constant(0))
	head := "beef01000001000000000000"
	question := "046d61696c076578616d706c65047465737400" + "00010001"
	opt := "00" + "0029" + "04d0" + "00000000"
	long := strings.Repeat("3f"+strings.Repeat("61", 63), 3)
	for _, c := range []struct{ about, packet, want string }{
		{"empty", "", "silence"},
		{"a short header", head[:22], "silence"},
		{"a header that promises a question", head, "FORMERR"},
		{"half a name", head + "046d61", "FORMERR"},
		{"a name without type", head + "00", "FORMERR"},
		{"a compressed question", head + "c000" + "00010001", "FORMERR"},
		{"a question that points to itself", head + "c00c" + "00010001", "FORMERR"},
		{"a label of a reserved kind", head + "41" + strings.Repeat("61", 65) + "0000010001",
			"FORMERR"},
		{"a name of 256 octets", head + long + "3e" + strings.Repeat("61", 62) + "00" +
			"00010001", "FORMERR"},
		{"a name of 255 octets", head + long + "3d" + strings.Repeat("61", 61) + "00" +
			"00010001", "REFUSED"},
		{"something behind the end", head + question + "00", "FORMERR"},
		{"a record that is announced and missing", "beef01000001000000000001" + question,
			"FORMERR"},
		{"a record cut off", "beef01000001000000000001" + question + "0000010001", "FORMERR"},
		{"an OPT whose option is too long", "beef01000001000000000001" + question + opt + "0005" +
			"000a000201", "FORMERR"},
		{"an OPT with half an option", "beef01000001000000000001" + question + opt + "0002" +
			"000a", "FORMERR"},
		{"an OPT with a name of two octets", "beef01000001000000000001" + question + "c00c" +
			opt[2:] + "0000", "FORMERR"},
		{"more records than the packet has room for", "beef0100000100000000ffff" + question +
			opt + "0000", "FORMERR"},
		{"whole", head + question, "NOERROR"},
		{"whole, with OPT", "beef01000001000000000001" + question + opt + "0000", "NOERROR"},
		{"whole, with another record", "beef01000001000000000001" + question + "c00c" +
			"0001000100000000" + "0004" + "01020304", "NOERROR"},
	} {
		packet, err := hex.DecodeString(c.packet)
		if err != nil {
			t.Fatal(c.about, err)
		}
		out, o, err := reply(ask{packet: packet, from: netip.IPv4Unspecified()}, 1232, st,
			time.Time{})
		if err != nil {
			t.Fatal(c.about, err)
		}
		got := "silence"
		if out != nil {
			got = dns.RcodeToString[int(out[3]&0xF)]
			if id := binary.BigEndian.Uint16(out); id != 0xbeef {
				t.Errorf("%s: id %#x", c.about, id)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.about, got, c.want)
		}
		if got == "FORMERR" && (len(out) != headerSize || o.verdict != malformed) {
			t.Errorf("%s: %d bytes, verdict %d", c.about, len(out), o.verdict)
		}
	}
}

// bigState has a name with n addresses, and a delegation with much glue.
func bigState(t testing.TB, n int) *state {
	c := ZoneConfig{Name: "example.test", NS: []string{"ns.other.invalid"}}
	for i := range n {
		c.Records = append(c.Records, Record{Name: "big", Type: "AAAA",
			Data: fmt.Sprintf("2001:db8::%x", i+1)})
	}
	for i := range 10 {
		inside, beside := fmt.Sprintf("ns%d.cut", i), fmt.Sprintf("ns%d", i)
		for _, name := range []string{inside, beside} {
			if name == beside && n > 40 {
				continue
			}
			c.Records = append(c.Records,
				Record{Name: "cut", Type: "NS", Data: name + ".example.test"},
				Record{Name: name, Type: "AAAA", Data: "2001:db8::1"})
		}
	}
	return newState([]*Zone{mustZone(t, c)}, nil, nil)
}

func TestAnswersThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		about   string
		records int
		name    string
		size    uint16 // 0: no EDNS
		tcp     bool
		tc      bool
		answers int
		extra   int // records without OPT
	}{
		{"17 addresses fit 512 bytes", 17, "big", 0, false, false, 17, 0},
		{"18 don't, and none is sent", 18, "big", 0, false, true, 0, 0},
		{"EDNS gives room", 18, "big", 600, false, false, 18, 0},
		{"but not below 512", 16, "big", 1, false, false, 16, 0},
		{"42 fit 1232", 42, "big", 4096, false, false, 42, 0},
		{"43 don't, whatever the client takes", 43, "big", 4096, false, true, 0, 0},
		{"TCP takes all", 1000, "big", 0, true, false, 1000, 0},
		{"up to 64 KiB", 2400, "big", 0, true, true, 0, 0},
		{"a referral with all glue", 1, "x.cut", 1232, false, false, 0, 20},
		{"a referral that leaves out glue it can do without", 1, "x.cut", 800, false, false, 0, 10},
		{"a referral that would lack glue it needs", 1, "x.cut", 512, false, true, 0, 0},
	} {
		t.Run(c.about, func(t *testing.T) {
			m := new(dns.Msg)
			m.SetQuestion(c.name+".example.test.", dns.TypeAAAA)
			if c.size > 0 {
				m.SetEdns0(c.size, false)
			}
			packet, _ := m.Pack()
			in := ask{packet: packet, from: netip.IPv4Unspecified(), tcp: c.tcp}
			out, o, err := reply(in, 1232, bigState(t, c.records), time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			var a dns.Msg
			if err := a.Unpack(out); err != nil {
				t.Fatal(err)
			}
			extra := len(a.Extra)
			if a.IsEdns0() != nil {
				extra--
			}
			if a.Truncated != c.tc || o.truncated != c.tc || len(a.Answer) != c.answers ||
				extra != c.extra {
				t.Errorf("tc %t (counted %t), %d answers, %d additional, %d bytes", a.Truncated,
					o.truncated, len(a.Answer), extra, len(out))
			}
			limit := max(512, min(int(c.size), 1232))
			if !c.tcp && len(out) > limit {
				t.Errorf("%d bytes, limit %d", len(out), limit)
			}
			if (a.IsEdns0() != nil) != (c.size > 0) {
				t.Error("OPT comes exactly when it was asked")
			}
		})
	}
}

func FuzzRepliesAreSane(f *testing.F) {
	st := exampleState(f, constant(0))
	for _, name := range []string{"cdn.example.test.", "x.sub.example.test.", "no.example.test.",
		"a.old.example.test.", "x.wild.example.test.", "ping.example.test.", "example.org."} {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		plain, _ := m.Pack()
		f.Add(plain, false)
		setSubnet(m, "00011800c0a801")
		rich, _ := m.Pack()
		f.Add(rich, true)
	}
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		before := bytes.Clone(packet)
		in := ask{packet: packet, from: netip.MustParseAddr("192.0.2.200"), tcp: tcp}
		out, o, err := reply(in, 1232, st, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, packet) {
			t.Fatal("the packet was changed")
		}
		checkReply(t, packet, out, o, tcp)
	})
}

// checkReply holds every answer against what is true of all answers.
func checkReply(t testing.TB, packet, out []byte, o outcome, tcp bool) {
	t.Helper()
	if silent := len(packet) < headerSize || packet[2]&0x80 != 0; silent != (out == nil) {
		t.Fatalf("silence: %t, want %t", out == nil, silent)
	}
	if out == nil {
		return
	}
	if !bytes.Equal(out[:2], packet[:2]) || out[2]&0xF8 != packet[2]&0x78|0x80 {
		t.Fatalf("id, QR or opcode: % x for % x", out[:4], packet[:4])
	}
	var a, q dns.Msg
	if err := a.Unpack(out); err != nil {
		t.Fatalf("the answer can't be read: %v\n% x", err, out)
	}
	if a.RecursionAvailable || a.AuthenticatedData || a.Zero {
		t.Fatalf("flags: %v", a.MsgHdr)
	}
	if o.verdict != accepted {
		if len(out) != headerSize {
			t.Fatalf("%d bytes for what was not understood", len(out))
		}
		return
	}
	if !tcp && len(out) > 1232 {
		t.Fatalf("%d bytes over UDP", len(out))
	}
	// miekg/dns must read at least the question as we did.
	if err := q.Unpack(packet); err == nil && len(q.Question) == 1 {
		if d := cmp.Diff(q.Question, a.Question); d != "" {
			t.Fatalf("question (-asked +answered):\n%s", d)
		}
		if opt := q.IsEdns0(); (opt != nil) != (a.IsEdns0() != nil) {
			t.Fatalf("OPT in the query: %v, in the answer: %v", opt, a.IsEdns0())
		}
		if !tcp && q.IsEdns0() == nil && len(out) > 512 {
			t.Fatalf("%d bytes without EDNS", len(out))
		}
	}
}

func BenchmarkReply(b *testing.B) {
	st := exampleState(b, constant(0))
	for _, name := range []string{"cdn.example.test.", "mail.example.test.", "no.example.test."} {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		setSubnet(m, "00011800c0a801")
		packet, err := m.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out, _, err := reply(ask{packet: packet}, 1232, st, time.Time{})
				if err != nil || len(out) < len(packet) {
					b.Fatal(err)
				}
			}
		})
	}
}
