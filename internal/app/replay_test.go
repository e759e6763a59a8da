package app_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
	"pointsman/steering/replay"
)

var answers = flag.Int("answers", 20_000, "how many answers the test of replays makes again")

// worldConfig has every way to an answer: sticky and spread hosts, places by prefix and by
// country, a backend that is barred somewhere, names, addresses, HTTPS records, denials, and a
// chain of two steered names. The first %s is the weight of backend one.
const worldConfig = `node: n1
vantage: here
state_dir: %q
log: {level: error, format: text}
dns:
  listen: ["127.0.0.1:0"]
  nsid: n1
  cookies: {secret_env: COOKIES}
  rate_limit: {mode: "off"}
  decision_log: {file: %q, sample: 1, max_size: 64MiB, keep: 100, tables: 100000}
zones:
  - name: example.test
    ttl: 1m
    ns: [ns1]
    records:
      - {name: ns1, type: A, data: 192.0.2.53}
probing: {interval: 100ms, timeout: 90ms, rise: 2, fall: 2}
backends:
  - {name: one, addresses: [192.0.2.1, "2001:db8::1"], probe: {url: %q},
     https: {alpn: [h2]}}
  - {name: two, addresses: [192.0.2.2], probe: {url: %q}}
  - {name: named, cname: a.cdn.invalid, deny: {countries: [FR]}, probe: {url: %q}}
  - {name: next, cname: spread.example.test, probe: {url: %q}}
pools:
  - {name: addresses, members: [{backend: one, weight: WEIGHT}, {backend: two, weight: 30}]}
  - {name: names, members: [{backend: named, weight: WEIGHT}, {backend: next, weight: 30}]}
hosts:
  - {name: cdn.example.test, ttl: 5s, pools: [addresses], ramp: 2s}
  - name: spread.example.test
    ttl: 20s
    pools: [addresses]
    stickiness: spread
    ramp: 2s
    places:
      - {name: near, prefixes: [20.0.0.0/9], pools: [addresses]}
      - {name: germany, countries: [DE], pools: [addresses]}
  - {name: chain.example.test, ttl: 10s, pools: [names], stickiness: spread, ramp: 0s}
  - {name: x.wild.example.test, ttl: 10s, pools: [names], stickiness: sticky, ramp: 0s}
admin: {listen: "127.0.0.1:0"}
`

// world is a node whose tables change while it is asked.
type world struct {
	*node
	site   *site
	config string
	log    string
}

func newWorld(t *testing.T) *world {
	s := newSite(t)
	w := &world{site: s, log: filepath.Join(s.dir, "decisions.log")}
	w.config = fmt.Sprintf(worldConfig, s.state(), w.log, s.one.URL, s.two.URL, s.origin.URL,
		s.origin.URL)
	s.environ = []string{"COOKIES=000102030405060708090a0b0c0d0e0f"}
	w.weigh(70)
	w.node = s.start()
	return w
}

func (w *world) weigh(weight int) {
	w.site.write(strings.ReplaceAll(w.config, "WEIGHT", fmt.Sprint(weight)))
}

// stir changes tables in every way until ctx ends, and returns how often.
func (w *world) stir(ctx context.Context, r *rand.Rand) (n int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	drained := ""
	for ; ; n++ {
		select {
		case <-ctx.Done():
			return n
		case <-tick.C:
		}
		var err error
		switch r.IntN(5) {
		case 0:
			w.weigh(1 + r.IntN(100))
			_, err = w.Reload(ctx)
		case 1:
			if drained != "" {
				err = w.admin.RemoveOverride(ctx, drained)
				drained = ""
				break
			}
			var o api.Override
			o, err = w.admin.AddOverride(ctx, drain([]string{"one", "named"}[r.IntN(2)], "1m"))
			drained = o.ID
		case 2:
			w.site.one.breakIt(r.IntN(2) == 0)
		case 3:
			w.site.two.breakIt(r.IntN(2) == 0)
		case 4:
			w.site.origin.breakIt(r.IntN(2) == 0)
		}
		if err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	}
}

// packet asks for a random steered name in a random way.
func packet(t *testing.T, r *rand.Rand) []byte {
	names := []string{"cdn", "spread", "chain", "x.wild", "CHAIN"}
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT, dns.TypeMX}
	m := new(dns.Msg)
	m.SetQuestion(names[r.IntN(len(names))]+".example.test.", types[r.IntN(len(types))])
	m.Id = uint16(r.Uint32())
	if r.IntN(4) == 0 {
		return packed(t, m)
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(uint16(512 + r.IntN(1000)))
	if r.IntN(4) == 0 {
		opt.SetDo()
	}
	if r.IntN(2) == 0 {
		from := binary.BigEndian.AppendUint32(nil, r.Uint32()&^0xFF)
		opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1,
			SourceNetmask: 24, Address: net.IP(from)})
	}
	if r.IntN(3) == 0 {
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE,
			Cookie: fmt.Sprintf("%016x", r.Uint64())})
	}
	if r.IntN(5) == 0 {
		opt.Option = append(opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
	}
	m.Extra = []dns.RR{opt}
	return packed(t, m)
}

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// askMany sends queries one after the other, over TCP or UDP from an address of its own, and returns
// how many were answered.
func askMany(t *testing.T, r *rand.Rand, at string, tcp bool, left *atomic.Int64) int {
	from := net.IPv4(127, byte(r.IntN(250)), byte(r.IntN(250)), byte(1+r.IntN(250)))
	network, local := "udp", net.Addr(&net.UDPAddr{IP: from})
	if tcp {
		network, local = "tcp", &net.TCPAddr{IP: from}
	}
	c, err := (&net.Dialer{LocalAddr: local}).DialContext(t.Context(), network, at)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	buf := make([]byte, dns.MaxMsgSize)
	n := 0
	for left.Add(-1) >= 0 {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(packet(t, r)); err != nil {
			t.Error(err)
			return n
		}
		if _, err := conn.Read(buf); err != nil {
			t.Error(err)
			return n
		}
		n++
	}
	return n
}

// TestReplayMakesEveryLoggedAnswerAgain asks a running node over UDP and TCP while its tables
// change by reloads, drains, health and ramps, and makes every answer again from its log.
func TestReplayMakesEveryLoggedAnswerAgain(t *testing.T) {
	w := newWorld(t)
	var left atomic.Int64
	left.Store(int64(*answers))
	var asking, stirring sync.WaitGroup
	var answered atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	changes := 0
	stirring.Go(func() { changes = w.stir(ctx, rand.New(rand.NewPCG(4, 1))) })
	start := time.Now()
	for i := range 16 {
		asking.Go(func() {
			r := rand.New(rand.NewPCG(4, uint64(100+i)))
			answered.Add(int64(askMany(t, r, w.dns, i%2 == 0, &left)))
		})
	}
	asking.Wait()
	cancel()
	stirring.Wait()
	asked := time.Since(start)
	if err := w.stop(); err != nil { // all is written then
		t.Fatal(err)
	}
	files, err := filepath.Glob(w.log + "*")
	if err != nil {
		t.Fatal(err)
	}
	files = logsAmong(files)
	o := w.site.options()
	got, err := app.Replay(context.Background(), app.ReplayOptions{Config: &o,
		Logs: app.Logs{Files: files}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(got.Found, got.Unjudged...) {
		t.Errorf("%s:%d: %s: %s", f.File, f.Line, f.What, f.Why)
	}
	t.Logf("%d answers in %v, %d changes; %d lines (%d dropped), %d tables made again in %v, "+
		"%.0f a second: decisions %v, answers %v", answered.Load(), asked.Round(time.Millisecond),
		changes, got.Lines, got.Dropped, got.Tables, got.Took.Round(time.Millisecond), got.Rate(),
		got.Decisions, got.Answers)
	want := map[replay.Outcome]int{replay.Equal: got.Lines}
	if d := cmp.Diff(want, got.Decisions); d != "" {
		t.Errorf("decisions (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, got.Answers); d != "" {
		t.Errorf("answers (-want +got):\n%s", d)
	}
	if got.Lines < *answers*8/10 || got.Tables < 10 {
		t.Errorf("%d lines and %d tables: too little was tested", got.Lines, got.Tables)
	}
}

// logsAmong leaves out folders, such as the one with the tables.
func logsAmong(names []string) (out []string) {
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			out = append(out, name)
		}
	}
	return out
}

// TestReplayFindsALineThatWasChanged changes the log in ways that each must be told.
func TestReplayFindsALineThatWasChanged(t *testing.T) {
	w := newWorld(t)
	var left atomic.Int64
	left.Store(40)
	askMany(t, rand.New(rand.NewPCG(1, 1)), w.dns, false, &left)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	l, err := replay.Parse([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		if !strings.Contains(first, old) {
			t.Fatalf("the line has no %q: %s", old, first)
		}
		return strings.Replace(first, old, new, 1)
	}
	for about, c := range map[string]struct {
		line string
		want replay.Report
	}{
		"as it was":         {first, counts(replay.Equal, replay.Equal)},
		"another backend":   {change(`"backend":"`+l.Backend, `"backend":"x`), counts(replay.Differs, "")},
		"another scope":     {change(`"scope":`, `"scope":1`), counts(replay.Differs, "")},
		"another answer":    {flipped(first), counts(replay.Equal, replay.Differs)},
		"an inexact client": {change(`"exact":true`, `"exact":false`), counts(replay.Inexact, "")},
		"a table gone":      {change(l.TableHash, strings.Repeat("0", 64)), counts(replay.NoTable, "")},
		"no line":           {"{", counts(replay.Unread, "")},
		"without the query": {change(`"query"`, `"qeury"`), counts(replay.Equal, replay.Untold)},
	} {
		o := w.site.options()
		got, err := app.Replay(t.Context(), app.ReplayOptions{Config: &o, Logs: app.Logs{
			Files: []string{"-"}, In: strings.NewReader(c.line + "\n"), Tables: w.log + ".tables"}})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([2]map[replay.Outcome]int{c.want.Decisions, c.want.Answers},
			[2]map[replay.Outcome]int{got.Decisions, got.Answers}); d != "" {
			t.Errorf("%s (-want +got):\n%s", about, d)
		}
	}
}

// flipped is a line with another hash of its answer.
func flipped(line string) string {
	before, after, _ := strings.Cut(line, `"answer_sha256":"`)
	digit := "0"
	if after[:1] == digit {
		digit = "1"
	}
	return before + `"answer_sha256":"` + digit + after[1:]
}

func counts(decision, answer replay.Outcome) (r replay.Report) {
	r.Decisions = map[replay.Outcome]int{decision: 1}
	r.Answers = map[replay.Outcome]int{}
	if answer != "" {
		r.Answers[answer] = 1
	}
	return r
}

func TestReplayExplainsALine(t *testing.T) {
	w := newWorld(t)
	w.ask("chain.example.test.")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	o := w.site.options()
	got, err := app.Retell(app.ReplayOptions{Config: &o, Logs: app.Logs{Files: []string{w.log}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Judged != (replay.Judged{Decision: replay.Equal, Answer: replay.Equal}) ||
		len(got.Explains) != 1+len(got.Line.Then) ||
		got.Explains[0].Decision.Backend != got.Line.Backend ||
		got.Line.Client != netip.MustParsePrefix("127.0.0.1/32") {
		t.Errorf("got %+v", got)
	}
	_, err = app.Retell(app.ReplayOptions{Logs: app.Logs{Files: []string{w.log}}}, 2)
	if err == nil || !strings.Contains(err.Error(), "there is no line 2") {
		t.Errorf("the second of one line: %v", err)
	}
}
