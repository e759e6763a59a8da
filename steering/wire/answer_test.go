package wire_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"pointsman/steering/wire"
)

// Prepared messages: an address of mai.test., and denials with the SOA of test.
const (
	address = "0000 8400 0001 0001 0000 0000 036d6169 0474657374 00 0001 0001 " +
		"c00c 0001 0001 0000003c 0004 c0000201"
	soa = "c010 0006 0001 0000001e 0025 036e7331 c010 0568656c6c6f c010 " +
		"00000001 00000002 00000003 00000004 00000005"
	denial = "0000 8403 0001 0000 0001 0000 036d6169 0474657374 00 0001 0001 " + soa
)

func write(t *testing.T, a *wire.Answer, query string, limit int, o wire.OPT) string {
	t.Helper()
	var q wire.Query
	p := packet(t, query)
	if !q.Read(p) {
		t.Fatalf("%s was refused", query)
	}
	if limit == 0 {
		limit = q.Limit(1232)
	}
	o.DO, o.Subnet = q.DO, q.Subnet
	if !q.Client.IsValid() {
		o.Scope = 0
	}
	out := make([]byte, 4096)
	return hex.EncodeToString(out[:a.Write(out, p, &q, limit, &o)])
}

func tight(s string) string { return strings.ReplaceAll(s, " ", "") }

func TestAnAnswerIsWrittenForTheQuery(t *testing.T) {
	a, ok := wire.NewAnswer(packet(t, address))
	if !ok {
		t.Fatal("refused")
	}
	record := "c00c 0001 0001 0000003c 0004 c0000201"
	for _, c := range []struct{ about, query, want string }{
		{"plain", "beef 0000 0001 0000 0000 0000" + question,
			"beef 8400 0001 0001 0000 0000" + question + record},
		{"RD and CD come back, and nothing else", "0007 07f0 0001 0000 0000 0000" + question,
			"0007 8510 0001 0001 0000 0000" + question + record},
		{"EDNS", withOPT + question + opt + "0000",
			"beef 8500 0001 0001 0000 0001" + question + record + "00 0029 04d0 00000000 0000"},
		{"DO", withOPT + question + optDO + "0000",
			"beef 8500 0001 0001 0000 0001" + question + record + "00 0029 04d0 00008000 0000"},
		{"a subnet comes back with the scope",
			withOPT + question + opt + "000b 0008 0007 0001 18 00 c0a801",
			"beef 8500 0001 0001 0000 0001" + question + record +
				"00 0029 04d0 00000000 000b 0008 0007 0001 18 11 c0a801"},
		{"nobody's subnet without", withOPT + question + opt + "0008 0008 0004 0002 00 00",
			"beef 8500 0001 0001 0000 0001" + question + record +
				"00 0029 04d0 00000000 0008 0008 0004 0002 00 00"},
	} {
		if got := write(t, a, c.query, 0, wire.OPT{UDPSize: 1232, Scope: 17}); got != tight(c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.about, got, tight(c.want))
		}
	}
}

func TestAnAnswerBeyondTheLimitIsNotWritten(t *testing.T) {
	a, _ := wire.NewAnswer(packet(t, address))
	query := withOPT + question + opt + "0000"
	size := a.Len(len("\x03mai\x04test\x00")) + 11
	for limit, want := range map[int]int{size: size, size - 1: 0} {
		if got := len(write(t, a, query, limit, wire.OPT{})) / 2; got != want {
			t.Errorf("%d octets in a limit of %d, want %d", got, limit, want)
		}
	}
	var q wire.Query
	p := packet(t, query)
	q.Read(p)
	if n := a.Write(make([]byte, size-1), p, &q, 9999, &wire.OPT{}); n != 0 {
		t.Errorf("%d octets in a buffer of %d", n, size-1)
	}
}

func TestTheLimitIsWhatBothSidesTake(t *testing.T) {
	for _, c := range []struct {
		edns       bool
		size, ours uint16
		want       int
	}{{false, 0, 1232, 512}, {true, 0, 1232, 512}, {true, 600, 1232, 600}, {true, 4096, 1232, 1232},
		{true, 65535, 4096, 4096}} {
		q := wire.Query{EDNS: c.edns, Size: c.size}
		if got := q.Limit(c.ours); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

func TestADenialHoldsForNamesOfAnyLength(t *testing.T) {
	a, ok := wire.NewDenial(packet(t, denial), 6)
	if !ok {
		t.Fatal("refused")
	}
	if a.Rcode() != 3 {
		t.Errorf("rcode %d", a.Rcode())
	}
	longer := "0161 06666f6f626172 0454455354 00 0001 0001" // a.foobar.TEST.
	got := write(t, a, "beef 0000 0001 0000 0000 0000"+longer, 0, wire.OPT{})
	want := "beef 8403 0001 0000 0001 0000" + longer + strings.ReplaceAll(soa, "c010", "c015")
	if got != tight(want) {
		t.Errorf("\n got %s\nwant %s", got, tight(want))
	}
	same, _ := wire.NewDenial(packet(t, strings.ReplaceAll(strings.ReplaceAll(denial,
		"036d6169", "026d61"), "c010", "c00f")), 6)
	if a.Key() != same.Key() {
		t.Error("denials that say the same have different keys")
	}
}

func TestOnlyDenialsThatCanMoveAreTaken(t *testing.T) {
	toFront := strings.Replace(denial, "036e7331 c010", "036e7331 c00c", 1)
	for about, c := range map[string]struct {
		message string
		common  int
		want    bool
	}{
		"a SOA":                           {denial, 6, true},
		"a pointer to what is not shared": {toFront, 6, false},
		"the same, when that is shared":   {toFront, 10, true},
		"an answer":                       {address, 10, false},
		"no record at all":                {"0000 8005 0001 0000 0000 0000 0161 00 0001 0001", 1, true},
		"another record":                  {strings.Replace(denial, "c010 0006", "c010 0002", 1), 6, false},
		"octets behind":                   {denial + "00", 6, false},
		"cut off":                         {denial[:len(denial)-2], 6, false},
		"no question":                     {"0000 8005 0000 0000 0000 0000", 1, false},
		"nothing":                         {"", 1, false},
	} {
		if _, ok := wire.NewDenial(packet(t, c.message), c.common); ok != c.want {
			t.Errorf("%s: %t", about, ok)
		}
	}
}

func TestAnAnswersOptionsStandInOneOrder(t *testing.T) {
	a, _ := wire.NewAnswer(packet(t, address))
	query := withOPT + question + opt + "0000"
	more := &wire.Options{Cookie: []byte("COOKIE"), NSID: []byte("ns"), KeepAlive: 100,
		Agent: []byte("\x01a\x00"), Error: &wire.Error{Code: 20, Text: "hi"}}
	plain := tight("beef 8500 0001 0001 0000 0001" + question +
		"c00c 0001 0001 0000003c 0004 c0000201 00 0029 04d0 00000000")
	asked := tight("000a 0006 434f4f4b4945  0003 0002 6e73  000b 0002 0064")
	spare := tight("0012 0003 016100  000f 0004 0014 6869")
	whole := plain + "0025" + asked + spare
	for about, c := range map[string]struct {
		limit, block int
		want         string
	}{
		"all":                    {0, 0, whole},
		"just all":               {len(whole) / 2, 0, whole},
		"what it can do without": {len(whole)/2 - 1, 0, plain + "0016" + asked},
		"just that":              {len(plain)/2 + 2 + len(asked)/2, 0, plain + "0016" + asked},
		"too little":             {len(plain)/2 + 1 + len(asked)/2, 0, ""},
		"padded": {1000, 100, plain + "002f" + asked + spare + "000c0006" +
			strings.Repeat("00", 6)},
		"no room for padding": {99, 100, whole},
	} {
		more.Block = c.block
		got := write(t, a, query, c.limit, wire.OPT{UDPSize: 1232, More: more})
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", about, got, c.want)
		}
		if c.block > 0 && c.limit > 99 && len(got)/2%c.block != 0 {
			t.Errorf("%s: %d octets", about, len(got)/2)
		}
	}
}

func TestAnExplainedAnswerIsAnother(t *testing.T) {
	a, _ := wire.NewDenial(packet(t, denial), 6)
	b, _ := wire.NewDenial(packet(t, denial), 6)
	b.Explain(&wire.Error{Code: 20})
	if a.Key() == b.Key() || a.Why() != nil || b.Why().Code != 20 {
		t.Error("answers with and without an error are told apart")
	}
}
