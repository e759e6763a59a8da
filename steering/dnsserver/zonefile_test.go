package dnsserver_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/dnsserver"
)

// head begins the zone files of the tests; it has three lines.
const head = `@ 300 IN SOA ns1.other.invalid. hostmaster 7 3600 600 604800 30
@ 300 IN NS ns1.other.invalid.
@ 300 IN NS ns2.other.invalid.
`

// inFile returns a zone without mistakes, with more lines in its file, the first of them the
// fourth.
func inFile(lines string, others fstest.MapFS) dnsserver.ZoneConfig {
	c := dnsserver.ZoneConfig{Name: "example.test", File: &dnsserver.ZoneFile{
		Name: "zones/example.zone", Data: []byte(head + lines)}}
	if others != nil {
		c.File.Folder = others
	}
	return c
}

func TestEveryMistakeInAZoneFileHasItsLine(t *testing.T) {
	long := strings.Repeat("x", 400<<10)
	for _, c := range []struct {
		about, lines string
		want         []string // line: a part of the message
	}{
		{"a bad address", "a A 192.0.2.256\n", []string{"4: not valid for type A"}},
		{"an address of the other family", "a A 2001:db8::1\n", []string{"4: not valid for type A"}},
		{"behind good lines and comments", "a A 192.0.2.1\n; b\n\n\nb AAAA ::g\n",
			[]string{"8: not valid for type AAAA"}},
		{"two mistakes", "a A x\nb A 192.0.2.1\nc A y\n",
			[]string{"4: not valid", "6: not valid"}},
		{"behind an entry of several lines", "t TXT ( \"a\" ; )\n \"b\"\n )\na A x\n",
			[]string{"7: not valid"}},
		{"in an entry of several lines, where it begins", "m MX ( 10\n x..y )\n",
			[]string{"4: not valid for type MX"}},
		{"an open parenthesis", "m MX ( 10\n mail\nb A 192.0.2.1\n",
			[]string{"4: a parenthesis isn't closed"}},
		{"a closing one", "m MX 10 ) mail\nb A x\n",
			[]string{"4: a parenthesis closes that none has opened", "5: not valid"}},
		{"an open quote", "t TXT \"a\nb A 192.0.2.1\n", []string{"4: a quote isn't closed"}},
		{"a quoted name", "\"a\" A 192.0.2.1\n", []string{"4: begins with a quote"}},
		{"a control byte", "a A 192.0.2.1\x00\n", []string{"4: holds a control byte 0x00"}},
		{"an endless entry", "t TXT (" + long + "\n", []string{"4: is too long"}},
		{"no type", "a\n", []string{"4: has no record type"}},
		{"no data", "a A\n", []string{"4: missing"}},
		{"an unknown type", "a AA 192.0.2.1\n", []string{`4: "AA" is no record type`}},
		{"a type of questions", "a ANY 1\n", []string{"4: class ANY isn't served"}},
		{"another class", "a CH A 192.0.2.1\n", []string{"4: class CH isn't served, only IN"}},
		{"two TTLs", "a 1 2 A 192.0.2.1\n", []string{`4: "2" is no record type`}},
		{"a TTL too long", "a 2147483648 A 192.0.2.1\n", []string{"4: \"2147483648\" is more"}},
		{"a sum too long", "a 4000w A 192.0.2.1\n", []string{"4: \"4000w\" is more"}},
		{"a TTL that is none", "a 1x A 192.0.2.1\n", []string{`4: "1x" is not a time`}},
		{"outside", "a.example.org. A 192.0.2.1\n",
			[]string{"4: a.example.org. is outside the zone example.test."}},
		{"a name that is none", "a..b A 192.0.2.1\n", []string{"4: \"a..b.example.test.\" is not"}},
		{"a label too long", strings.Repeat("a", 64) + " A 192.0.2.1\n", []string{"4: "}},
		{"the same twice, both plain", "a A 192.0.2.1\na 5m IN A 192.0.2.1 ; again\n",
			[]string{"5: the same record is already zones/example.zone:4"}},
		{"the same twice, one not plain", "a A 192.0.2.1\n\\097 A ( 192.0.2.1 )\n",
			[]string{"5: the same record is already zones/example.zone:4"}},
		{"the same in config and file, and two TTLs", "a A 192.0.2.1\na 60 A 192.0.2.2\n",
			[]string{"5: records of one name and type share one TTL: zones/example.zone:4 has 300s"}},
		{"half a SOA", "@ SOA a b 1\n", []string{"4: not valid for type SOA: something is missing at the end"}},
		{"half a fingerprint", "a SSHFP 1 1\n", []string{"4: not valid for type SSHFP: something"}},
		{"two SOAs", "@ SOA a b 1 1 1 1 1\n", []string{"4: the zone has a SOA already"}},
		{"a SOA below", "a SOA a b 1 1 1 1 1\n", []string{"4: a SOA can't stand below"}},
		{"a CNAME beside addresses", "a A 192.0.2.1\na AAAA 2001:db8::1\na CNAME b\n",
			[]string{"6: a CNAME can't stand beside other records of a.example.test.: " +
				"zones/example.zone:4 is A", "6: a CNAME can't stand beside"}},
		{"addresses beside a CNAME", "a CNAME b\na A 192.0.2.1\n",
			[]string{"4: a CNAME can't stand beside other records"}},
		{"a loop", "a CNAME b\nb CNAME a\n", []string{"4: CNAME loop", "5: CNAME loop"}},
		{"below a DNAME", "old DNAME x.invalid.\na.old A 192.0.2.1\n b.old TXT x\nb.old TXT x\n",
			[]string{"6: ", "7: old.example.test. has a DNAME", "5: old.example.test. has a DNAME"}},
		{"a server without address", "@ NS ns3\n",
			[]string{"4: ns3.example.test. lies in the zone but has no A"}},
		{"an unknown directive", "$ORIGINS a\n", []string{`4: "$ORIGINS" is no directive`}},
		{"BIND's directive", "$GENERATE 1-2 a$ A 192.0.2.$\n", []string{"4: $GENERATE"}},
		{"a type that DNS lacks", "a ALIAS b.test.\n", []string{"4: ALIAS is no type of DNS records"}},
		{"directives without values", "$ORIGIN\n$TTL\n$INCLUDE\n", []string{"4: $ORIGIN takes",
			"5: $TTL takes", "6: $INCLUDE takes"}},
		{"an include without a folder", "$INCLUDE b\n", []string{"4: nothing can be included"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			z, mistakes := dnsserver.ParseZone(inFile(c.lines, nil))
			if z != nil {
				t.Error("a zone in spite of mistakes")
			}
			located(t, "zones/example.zone", c.want, mistakes)
		})
	}
}

// located holds mistakes in files against "line: message" of one file, or "file:line: message".
func located(t *testing.T, file string, want []string, found []dnsserver.Mistake) {
	t.Helper()
	for i, m := range found {
		if m.Path != "file" {
			t.Errorf("mistake of %q, want of the file: %v", m.Path, m)
		}
		got := fmt.Sprintf("%d: %s", m.Line, m.Message)
		if m.File != file {
			got = m.File + ":" + got
		}
		if i >= len(want) || !strings.HasPrefix(got, want[i]) {
			t.Errorf("mistake %d: %s", i, got)
		}
	}
	if len(found) != len(want) {
		t.Errorf("%d mistakes, want %q", len(found), want)
	}
}

func TestAFileStopsAfterAHundredMistakes(t *testing.T) {
	_, mistakes := dnsserver.ParseZone(inFile(strings.Repeat("a A x\n", 5000), nil))
	if len(mistakes) != 101 || !strings.Contains(mistakes[100].Message, "too many mistakes") {
		t.Errorf("%d mistakes, the last: %v", len(mistakes), mistakes[len(mistakes)-1])
	}
}

func TestConfigAndFileCollideWithTheirPlaces(t *testing.T) {
	c := inFile("a A 192.0.2.1\nb TXT x\n", nil)
	c.NS = []string{"ns1.other.invalid"}
	c.Records = []record{{Name: "a", Type: "A", TTL: 5 * time.Minute, Data: "192.0.2.1"},
		{Name: "b", Type: "CNAME", Data: "x.invalid"}}
	_, mistakes := dnsserver.ParseZone(c)
	compare(t, []mistake{
		{"ns", "the zone's NS records stand in the zone file already, zones/example.zone:2"},
		{"records[0]", "the same record is already zones/example.zone:4"},
		{"records[1]", "a CNAME can't stand beside other records of b.example.test.: " +
			"zones/example.zone:5 is TXT"},
	}, mistakes)
}

func TestIncludedFilesLieInTheZoneFilesFolder(t *testing.T) {
	others := fstest.MapFS{
		"example.zone": {Data: []byte("@ SOA a b 1 1 1 1 1\n")},
		"self":         {Data: []byte("$INCLUDE self\n")},
		"sub/a":        {Data: []byte("x A 192.0.2.1\n$INCLUDE b y\n x TXT t\nz A z\n")},
		"sub/b":        {Data: []byte("$TTL 9\n$ORIGIN q.example.test.\nx A 192.0.2.2\ny A y\n")},
		"blank":        {Data: []byte(" A 192.0.2.1\n")},
		"secret/other": {Data: []byte("root:$6$secret:0:0\n")},
	}
	for _, c := range []struct {
		about, lines string
		want         []string
	}{
		{"mistakes in included files", "$INCLUDE sub/a\nw A w\n",
			[]string{"zones/sub/b:4: not valid", "zones/sub/a:3: \"x\" is no record type",
				"zones/sub/a:4: not valid", "5: not valid"}},
		{"one that isn't there", "$INCLUDE c\n", []string{"4: including \"c\": there is no such file"}},
		{"a folder", "$INCLUDE sub\n", []string{"4: including \"sub\": it is no regular file"}},
		{"an absolute name", "$INCLUDE /etc/passwd\n", []string{`4: "/etc/passwd" is not in the zone`}},
		{"a way out", "$INCLUDE sub/../../a\n", []string{"4: \"sub/../../a\" is not in the zone"}},
		{"one that includes itself", "$INCLUDE self\n",
			[]string{"zones/self:1: $INCLUDE loop: example.zone → self → self"}},
		{"the zone file itself", "$INCLUDE example.zone\n",
			[]string{"4: $INCLUDE loop: example.zone → example.zone"}},
		{"one that begins with a blank", "a A 192.0.2.1\n$INCLUDE blank\n",
			[]string{"zones/blank:1: begins with a blank"}},
		{"what is no zone file", "$INCLUDE secret/other\n",
			[]string{"zones/secret/other:1: has no record type"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			_, mistakes := dnsserver.ParseZone(inFile(c.lines, others))
			located(t, "zones/example.zone", c.want, mistakes)
			if strings.Contains(fmt.Sprint(mistakes), "secret:0") {
				t.Errorf("the content of a file is shown: %v", mistakes)
			}
		})
	}
}

func TestARecordThatSigningAddsIsFoundByItsLine(t *testing.T) {
	c := inFile("@ NSEC3PARAM 1 0 0 -\na CDS 0 0 0 00\n", nil)
	c.Signed = true
	_, mistakes := dnsserver.ParseZone(c)
	located(t, "zones/example.zone", []string{"4: example.test. has a NSEC3PARAM record",
		"5: a.example.test. has a CDS record"}, mistakes)
}

func TestTooMuchIsNotRead(t *testing.T) {
	c := inFile("", nil)
	c.File.Data = append(c.File.Data, make([]byte, dnsserver.MaxZoneFile)...)
	_, mistakes := dnsserver.ParseZone(c)
	if len(mistakes) == 0 || !strings.Contains(mistakes[0].Message, "larger than 64 MiB") {
		t.Errorf("mistakes: %v", mistakes)
	}
	files := fstest.MapFS{"one": {Data: []byte("")}}
	_, mistakes = dnsserver.ParseZone(inFile(strings.Repeat("$INCLUDE one\n", 1001), files))
	located(t, "zones/example.zone", []string{"1004: more than 1000 files"}, mistakes)
}

func TestTheDigestFollowsEveryFile(t *testing.T) {
	digest := func(lines, included string) string {
		z, mistakes := dnsserver.ParseZone(inFile(lines,
			fstest.MapFS{"b": {Data: []byte(included)}}))
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		return z.Digest()
	}
	all := []string{digest("$INCLUDE b\n", ""), digest("$INCLUDE b\n", ";\n"),
		digest("$INCLUDE b \n", ""), digest("", "")}
	for i := range all {
		for j := range i {
			if all[i] == all[j] || len(all[i]) != 64 {
				t.Errorf("digests %d and %d: %s, %s", i, j, all[i], all[j])
			}
		}
	}
	if again := digest("$INCLUDE b\n", ";\n"); again != all[1] {
		t.Error("one content has two digests")
	}
	inline, _ := dnsserver.ParseZone(minimal())
	if d := cmp.Diff("", inline.Digest(), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}
