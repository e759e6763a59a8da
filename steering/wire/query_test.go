package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/wire"
)

// Parts of packets, in hexadecimal.
const (
	header   = "beef 0100 0001 0000 0000 0000 "
	withOPT  = "beef 0100 0001 0000 0000 0001 "
	question = "034d6149 0474455374 00 0001 0001 " // MaI.tESt. A IN
	opt      = "00 0029 04d0 0000 0000 "
	optDO    = "00 0029 1000 0000 8000 "
)

func packet(t testing.TB, parts string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(parts, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPlainQueryIsRead(t *testing.T) {
	type fields struct {
		Name     string
		Type     uint16
		EDNS, DO bool
		Size     uint16
		Client   netip.Prefix
		Cookie   string
		Wants    wire.Wants
	}
	plain := fields{Name: "\x03mai\x04test\x00", Type: 1}
	edns := plain
	edns.EDNS, edns.Size = true, 1232
	subnet := func(s string) fields {
		f := edns
		if s != "" {
			f.Client = netip.MustParsePrefix(s)
		}
		return f
	}
	with := func(change func(f *fields)) fields {
		f := edns
		change(&f)
		return f
	}
	for _, c := range []struct {
		about, packet string
		want          fields
	}{
		{"no EDNS", header + question, plain},
		{"flags that mean nothing in a query", "0000 07f0 0001 0000 0000 0000" + question, plain},
		{"EDNS", withOPT + question + opt + "0000", edns},
		{"DO", withOPT + question + optDO + "0000", fields{Name: plain.Name, Type: 1, EDNS: true,
			DO: true, Size: 4096}},
		{"IPv4 subnet", withOPT + question + opt + "000b 0008 0007 0001 18 00 c0a801",
			subnet("192.168.1.0/24")},
		{"odd length", withOPT + question + opt + "000b 0008 0007 0001 17 00 c0a802",
			subnet("192.168.2.0/23")},
		{"whole address", withOPT + question + opt + "000c 0008 0008 0001 20 00 c0a80101",
			subnet("192.168.1.1/32")},
		{"IPv6 subnet", withOPT + question + opt + "000f 0008 000b 0002 38 00 20010db8000100",
			subnet("2001:db8:1::/56")},
		{"a client cookie", withOPT + question + opt + "000c 000a 0008 0102030405060708",
			with(func(f *fields) { f.Cookie = "0102030405060708" })},
		{"the first of two cookies", withOPT + question + opt + "0020 000a 0010 " +
			strings.Repeat("01", 16) + "000a 0008 0102030405060708",
			with(func(f *fields) { f.Cookie = strings.Repeat("01", 16) })},
		{"a whole cookie", withOPT + question + opt + "002c 000a 0028" + strings.Repeat("02", 40),
			with(func(f *fields) { f.Cookie = strings.Repeat("02", 40) })},
		{"all that can be asked for, and what nobody knows", withOPT + question + opt +
			"0017 0003 0000 000b 0000 000c 0001 00 fde9 0002 abcd 0064 0000",
			with(func(f *fields) { f.Wants = wire.Wants{NSID: true, KeepAlive: true, Padding: true} })},
		{"the first of two subnets", withOPT + question + opt + "0012 0008 0007 0001 18 00 c0a801" +
			"0008 0003 000700", subnet("192.168.1.0/24")},
		{"nobody's subnet", withOPT + question + opt + "0008 0008 0004 0001 00 00", subnet("")},
	} {
		var q wire.Query
		p := packet(t, c.packet)
		before := bytes.Clone(p)
		if !q.Read(p) {
			t.Errorf("%s: refused", c.about)
			continue
		}
		got := fields{string(q.Name()), q.Type, q.EDNS, q.DO, q.Size, q.Client,
			hex.EncodeToString(q.Cookie), q.Wants}
		if d := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Prefix) bool {
			return a == b
		})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.about, d)
		}
		if q.Hash != wire.Hash(q.Name()) {
			t.Errorf("%s: the hash isn't the name's", c.about)
		}
		if !bytes.Equal(before, p) {
			t.Errorf("%s: the packet was changed", c.about)
		}
	}
}

func TestWhateverIsNotPlainIsRefused(t *testing.T) {
	long := strings.Repeat("3f"+strings.Repeat("61", 63), 3)
	for about, p := range map[string]string{
		"empty":                  "",
		"a short header":         header[:20],
		"a response":             "beef 8100 0001 0000 0000 0000" + question,
		"NOTIFY":                 "beef 2000 0001 0000 0000 0000" + question,
		"no question":            "beef 0100 0000 0000 0000 0000",
		"two questions":          "beef 0100 0002 0000 0000 0000" + question + question,
		"an answer":              "beef 0100 0001 0001 0000 0000" + question,
		"an authority":           "beef 0100 0001 0000 0001 0000" + question,
		"two additional records": "beef 0100 0001 0000 0000 0002" + question + opt + "0000" + opt,
		"class CH":               header + "0161 00 0001 0003",
		"a pointer":              header + "c00c 0001 0001",
		"a label of 64 octets":   header + "40" + strings.Repeat("61", 64) + "00 0001 0001",
		"a name of 256 octets":   header + long + "3e" + strings.Repeat("61", 62) + "0000010001",
		"a name cut off":         header + "03 6161",
		"a name without end":     header + "03 616161",
		"no type":                header + "0161 00",
		"no class":               header + "0161 00 0001",
		"octets behind":          header + question + "00",
		"a missing record":       withOPT + question,
		"a record cut off":       withOPT + question + "00 0029 04d0",
		"no OPT":                 withOPT + question + "00 0001 0001 00000000 0000",
		"an OPT with an owner":   withOPT + question + "0161 00 0029 04d0 0000 0000 0000",
		"EDNS version 1":         withOPT + question + "00 0029 04d0 0001 0000 0000",
		"options cut off":        withOPT + question + opt + "0004 0008 00",
		"octets behind options":  withOPT + question + opt + "0000 00",
		"half an option":         withOPT + question + opt + "0002 0008",
		"an option cut off":      withOPT + question + opt + "0004 0008 0001",
		"a cookie of 7 octets":   withOPT + question + opt + "000b 000a 0007 01020304050607",
		"a cookie of 15 octets":  withOPT + question + opt + "0013 000a 000f" + strings.Repeat("01", 15),
		"a cookie of 41 octets":  withOPT + question + opt + "002d 000a 0029" + strings.Repeat("01", 41),
		"a cookie of none":       withOPT + question + opt + "0004 000a 0000",
		"a subnet cut off":       withOPT + question + opt + "0007 0008 0003 000100",
		"a subnet with a scope":  withOPT + question + opt + "000b 0008 0007 0001 18 08 c0a801",
		"bits beyond the prefix": withOPT + question + opt + "000b 0008 0007 0001 17 00 c0a801",
		"too few octets":         withOPT + question + opt + "000a 0008 0006 0001 18 00 c0a8",
		"too many octets":        withOPT + question + opt + "000c 0008 0008 0001 18 00 c0a80100",
		"an IPv4 prefix of 33":   withOPT + question + opt + "000d 0008 0009 0001 21 00 c0a8010100",
		"an IPv6 prefix of 129": withOPT + question + opt + "0019 0008 0015 0002 81 00" +
			strings.Repeat("00", 17),
		"a family that is no one": withOPT + question + opt + "0008 0008 0004 0000 00 00",
	} {
		var q wire.Query
		if q.Read(packet(t, p)) {
			t.Errorf("%s: accepted", about)
		}
	}
}

func TestNamesOfUpTo255OctetsAreRead(t *testing.T) {
	var q wire.Query
	for last := range 62 {
		name := strings.Repeat("\x3f"+strings.Repeat("A", 63), 3) + "\x00"
		if last > 0 {
			name = name[:len(name)-1] + string(rune(last)) + strings.Repeat("Z", last) + "\x00"
		}
		p := append(packet(t, header), name...)
		if !q.Read(append(p, 0, 1, 0, 1)) {
			t.Fatalf("a name of %d octets was refused", len(name))
		}
		if got := string(q.Name()); got != strings.ToLower(name) {
			t.Errorf("%q was read as %q", name, got)
		}
	}
	if len(q.Name()) != 255 {
		t.Errorf("the longest name had %d octets", len(q.Name()))
	}
}

// FuzzReadAgreesWithAPlainReading compares names, case and hash with what a simple loop says.
func FuzzReadAgreesWithAPlainReading(f *testing.F) {
	f.Add(packet(f, header+question))
	f.Add(packet(f, withOPT+question+optDO+"000b 0008 0007 0001 18 00 c0a801"))
	f.Fuzz(func(t *testing.T, p []byte) {
		var q wire.Query
		before := bytes.Clone(p)
		ok := q.Read(p)
		if !bytes.Equal(before, p) {
			t.Fatal("the packet was changed")
		}
		if !ok {
			return
		}
		end := 12
		for p[end] != 0 {
			end += int(p[end]) + 1
		}
		name := bytes.Clone(p[12 : end+1])
		for i, c := range name {
			if 'A' <= c && c <= 'Z' {
				name[i] = c | 0x20
			}
		}
		if !bytes.Equal(name, q.Name()) || q.Hash != wire.Hash(name) ||
			q.Type != binary.BigEndian.Uint16(p[end+1:]) {
			t.Fatalf("% x was read as % x, type %d", p, q.Name(), q.Type)
		}
		lowered := bytes.Clone(p[12 : end+1])
		if wire.Lower(lowered); !bytes.Equal(lowered, name) {
			t.Fatalf("Lower made % x", lowered)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, p := range map[string][]byte{
		"plain": packet(b, header+"03777777 076578616d706c65 0474657374 00 0001 0001"),
		"subnet": packet(b, withOPT+"0363646e 076578616d706c65 0474657374 00 0001 0001"+opt+
			"000b 0008 0007 0001 18 00 c0a801"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var q wire.Query
			for b.Loop() {
				if !q.Read(p) {
					b.Fatal("refused")
				}
			}
		})
	}
}
