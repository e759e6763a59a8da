package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// everything lists a zone's records in order, without the NS records that fileZone adds.
func everything(z *Zone) []string {
	var out []string
	for _, n := range z.all() {
		for _, s := range n.sets {
			for _, rr := range s.rrs {
				if ns, ok := rr.(*dns.NS); !ok || ns.Ns != "ns.fuzz.invalid." {
					out = append(out, rr.String())
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// fileZone parses a file that may lack SOA and NS.
func fileZone(data string, others fstest.MapFS) (*Zone, []Mistake) {
	c := ZoneConfig{Name: "example.test", NS: []string{"ns.fuzz.invalid"},
		SOA: SOA{Serial: 1}, File: &ZoneFile{Name: "f", Data: []byte(data), Folder: others}}
	z, mistakes := ParseZone(c)
	if len(mistakes) == 1 && mistakes[0].Path == "ns" {
		c.NS = nil
		return ParseZone(c)
	}
	return z, mistakes
}

// oracle reads a file as miekg/dns does. Where it has no SOA or no serial number, ours is taken.
func oracle(data string, ours *dns.SOA, others fstest.MapFS) ([]string, error) {
	zp := dns.NewZoneParser(strings.NewReader(data), "example.test.", "f")
	zp.SetDefaultTTL(300)
	zp.SetIncludeAllowed(true)
	zp.SetIncludeFS(others)
	var out []string
	soa := false // present
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		name, err := normal(rr.Header().Name)
		if err != nil {
			return nil, err
		}
		rr.Header().Name = name
		if rr, err = rewire(rr); err != nil {
			return nil, err
		}
		if s, ok := rr.(*dns.SOA); ok {
			soa = true
			if s.Serial == 0 {
				s.Serial = ours.Serial // which is derived then
			}
		}
		out = append(out, rr.String())
	}
	if !soa {
		out = append(out, ours.String())
	}
	slices.Sort(out)
	return out, zp.Err()
}

// files are zone files of every form.
func files() []string {
	return []string{
		"",
		"; nothing\n\n   \n\t; more\n",
		"@ SOA ns1 hostmaster 1 2 3 4 5\n@ NS a.invalid.\n",
		"a A 192.0.2.1\nb 60 A 192.0.2.2\nc IN A 192.0.2.3\nd 60 IN A 192.0.2.4\n" +
			"e IN 60 A 192.0.2.5\n",
		"a 60 A 192.0.2.1\n  A 192.0.2.2\n 60 AAAA 2001:db8::1\nb AAAA 2001:db8::2 ; x\n",
		"$TTL 1h30m\na A 192.0.2.1\nb 60 A 192.0.2.2\nc A 192.0.2.3\n$TTL 9\nd A 192.0.2.4",
		"$ORIGIN sub\na A 192.0.2.1\n@ A 192.0.2.2\n$ORIGIN x.example.test.\na A 192.0.2.3\n",
		"a.b.c.d A 192.0.2.1\nc.d TXT x\n*.w A 192.0.2.1\n_x._tcp SRV 1 2 3 a\n",
		"A.Example.TEST. IN A 192.0.2.1\nB AAAA 2001:DB8::A\n",
		"a A 192.0.2.1\na TXT \"two words\" three \"\"\na AAAA 2001:db8::1\na MX 10 mail\n",
		"a TXT \"semi;colon\" \"paren(\" ; comment \" with ( signs\nb TXT a\\;b \\\"c\n",
		"\\097 A 192.0.2.1\na\\.b A 192.0.2.2\n\\255 TXT x\n",
		"a TYPE65280 \\# 4 01020304\nb TYPE1 \\# 4 c0000201\nc A \\# 4 c0000202\n",
		"a CAA 0 issue \"ca.invalid\"\nb HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.1\n" +
			"c NAPTR 1 2 \"u\" \"x\" \"!a!b!\" .\nd TLSA 3 1 1 00ff\ne SSHFP 1 1 00ff\n" +
			"g LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m\nh HINFO a b\n",
		"a DS 1 13 2 00ff\na NS ns.a\nns.a A 192.0.2.1\nold DNAME new.invalid.\n",
		"a AAAA ::ffff:192.0.2.1\nb AAAA ::\nc A 0.0.0.0\n",
		"a A 192.0.2.1\r\nb A 192.0.2.2 \r\n",
		"$INCLUDE inc\na A 192.0.2.1\n$INCLUDE inc sub\n  A 192.0.2.9\n",
		"a A 192.0.2.1 192.0.2.2\n", "a A 192.0.2.1;x\n", "a A 192.0.2.01\n", "a 1 A ::1\n",
		"a in a 192.0.2.1\nb 007 aaaa ::1\n", "IN A 192.0.2.1\nA A 192.0.2.2\n60 A 192.0.2.3\n",
	}
}

func included() fstest.MapFS {
	return fstest.MapFS{"inc": {Data: []byte("x 77 A 192.0.2.7\n$ORIGIN deep\ny A 192.0.2.8\n")}}
}

// hold compares a file's records with those that miekg/dns reads from it. What we refuse, by
// rules of our own, is not compared.
func hold(t *testing.T, data string) (accepted bool) {
	t.Helper()
	z, mistakes := fileZone(data, included())
	if z == nil {
		if len(mistakes) == 0 {
			t.Errorf("%q: neither a zone nor a mistake", data)
		}
		return false
	}
	want, err := oracle(data, z.node(z.name).get(dns.TypeSOA)[0].(*dns.SOA), included())
	if err != nil {
		t.Errorf("%q: accepted, while miekg/dns says: %v", data, err)
		return true
	}
	if d := cmp.Diff(want, everything(z)); d != "" {
		t.Errorf("%q (-miekg/dns +ours):\n%s", data, d)
	}
	return true
}

func TestZoneFilesReadAsMiekgReadsThem(t *testing.T) {
	refused := 0
	for _, data := range files() {
		if !hold(t, data) {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d files refused, want the 3 that have mistakes", refused)
	}
}

func FuzzZoneFile(f *testing.F) {
	for _, data := range files() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		// miekg/dns joins words that only a parenthesis or a line break inside parentheses
		// parts; RFC 1035 §5.1 lets both separate. After an empty value of SVCB it reads the next
		// line as that value.
		if strings.ContainsAny(data, "()=") || strings.Contains(strings.ToUpper(data), "$GENERATE") {
			_, _ = fileZone(data, included())
			return
		}
		hold(t, data)
	})
}

func TestParenthesesAndCommentsJoinLines(t *testing.T) {
	z, mistakes := fileZone("@ IN SOA ns1 hostmaster (\n1 ; serial\n2\n3\t; ) \"\n4\n5 )\n"+
		"@ NS ( a.invalid. ) ; x\nb ( 60 A\n192.0.2.1)\n  ( TXT ( \"a(\" ) \")\" )\n", nil)
	if z == nil {
		t.Fatal(mistakes)
	}
	want := []string{
		"b.example.test.\t60\tIN\tA\t192.0.2.1",
		"b.example.test.\t60\tIN\tTXT\t\"a(\" \")\"",
		"example.test.\t300\tIN\tNS\ta.invalid.",
		"example.test.\t300\tIN\tSOA\tns1.example.test. hostmaster.example.test. 1 2 3 4 5",
	}
	if d := cmp.Diff(want, everything(z)); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

// TestABulkAnswersAsNodesDo asks two zones of one content, of which one holds everything in
// nodes.
func TestABulkAnswersAsNodesDo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var file strings.Builder
	c := ZoneConfig{Name: "example.test", NS: []string{"ns.fuzz.invalid"}, SOA: SOA{Serial: 1}}
	names := []string{"example.test.", "deep.example.test.", "none.example.test."}
	seen := map[string]bool{}
	for i := range 3000 {
		name := fmt.Sprintf("n%d", r.IntN(1000))
		if r.IntN(4) == 0 {
			name += fmt.Sprintf(".s%d.deep", r.IntN(30))
		}
		rec := Record{Name: name, Type: "A", Data: fmt.Sprintf("192.0.2.%d", r.IntN(256))}
		switch r.IntN(10) {
		case 0:
			rec.Type, rec.Data = "TXT", fmt.Sprintf("%d", i)
		case 1, 2, 3, 4:
			rec.Type, rec.Data = "AAAA", fmt.Sprintf("2001:db8::%x", i)
		}
		if key := rec.Name + rec.Type + rec.Data; !seen[key] {
			seen[key] = true
			c.Records = append(c.Records, rec)
			fmt.Fprintf(&file, "%s %s %s\n", rec.Name, rec.Type, rec.Data)
			names = append(names, name+".example.test.", "x."+name+".example.test.")
		}
	}
	inNodes, mistakes := ParseZone(c)
	inBulk, more := fileZone(file.String(), nil)
	if mistakes != nil || more != nil || inBulk.bulk.size() < 500 || inNodes.bulk.size() > 0 {
		t.Fatal(mistakes, more)
	}
	if inBulk.size() != inNodes.size() {
		t.Errorf("%d names, want %d", inBulk.size(), inNodes.size())
	}
	if d := cmp.Diff(everything(inNodes), everything(inBulk)); d != "" {
		t.Errorf("records (-nodes +bulk):\n%s", d)
	}
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeANY} {
			q := &query{name: name, qtype: qtype, qclass: dns.ClassINET}
			want := answer(q, newState([]*Zone{inNodes}, nil, nil), time.Unix(0, 0))
			got := answer(q, newState([]*Zone{inBulk}, nil, nil), time.Unix(0, 0))
			if d := cmp.Diff(want.msg.String(), got.msg.String()); d != "" {
				t.Fatalf("%s %s (-nodes +bulk):\n%s", name, dns.Type(qtype), d)
			}
		}
	}
}

func BenchmarkZoneFileOf100000Names(b *testing.B) {
	var file strings.Builder
	for i := range 100000 {
		fmt.Fprintf(&file, "host%06d IN A 10.%d.%d.%d\nhost%06d IN AAAA 2001:db8::%x:%x\n",
			i, i>>16, i>>8&255, i&255, i, i>>16, i&0xffff)
	}
	data := file.String()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if z, mistakes := fileZone(data, nil); z == nil {
			b.Fatal(mistakes)
		}
	}
}
