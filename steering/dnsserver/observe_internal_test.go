package dnsserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/tap"
)

// tapped is a twin whose fast responder shows what it answers to a tap.
func tapped(t testing.TB, cfg tap.Config) (*twin, *tap.Tap) {
	t.Helper()
	w := newTwin(t, func(Drawer) *state { return realState(t, steering.NewDraws(1), 1) })
	made, err := tap.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.fast.s.cfg.Tap = made
	w.fast.tap = w.fast.s.newObserver(1)
	w.fast.out = make([]byte, maxPrepared)
	return w, made
}

// emptied runs a tap on what it was shown so far.
func emptied(t testing.TB, made *tap.Tap) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := made.Run(ctx, func([]byte) []byte { return nil }); err != nil {
		t.Fatal(err)
	}
}

// written returns the lines of a file, after a tap has written what it was shown so far.
func written(t *testing.T, made *tap.Tap, file string) []string {
	t.Helper()
	emptied(t, made)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
}

// line is what a test reads of a line of the decision log.
type line struct {
	Seq, Dropped uint64
	Host, Draw   string
	Client       netip.Prefix
	Backend      string
	TableHash    string `json:"table_hash"`
	Query        string
	Answer       string `json:"answer_sha256"`
	Then         []struct{ Host, Draw, Backend string }
}

func readLine(t *testing.T, text string) line {
	t.Helper()
	var l line
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatalf("line %s: %v", text, err)
	}
	return l
}

// logged gives the draws of a line, in their order.
type logged struct{ draws []uint64 }

func (l *logged) Next(uint64, netip.Prefix, uint16, time.Time) uint64 {
	next := l.draws[0]
	l.draws = l.draws[1:]
	return next
}

func TestALineOfTheDecisionLogGivesTheSameBytesAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.log")
	w, made := tapped(t, tap.Config{Decisions: &tap.DecisionConfig{File: file, Sample: 1}})
	q := newQuestions(w.oracle, 11)
	copied := 0
	for range 4000 {
		in := ask{packet: q.packet(), from: clients[q.IntN(3)], tcp: true}
		for range 2 { // the ordinary path, and then the memo where that can be
			out := w.fast.answer(in, w.with, time.Unix(1e9, 0))
			if len(out) > 0 && &out[0] == &w.fast.out[0] {
				copied++
			}
		}
	}
	lines := written(t, made, file)
	if len(lines) < 200 || copied < 200 {
		t.Fatalf("%d lines, %d answers from the memo", len(lines), copied)
	}
	chained := 0
	for i, text := range lines {
		l := readLine(t, text)
		if l.Seq != uint64(i+1) || l.Dropped != 0 {
			t.Fatalf("line %d: number %d, %d dropped", i+1, l.Seq, l.Dropped)
		}
		draws := &logged{}
		for _, d := range append([]string{l.Draw}, drawsOf(l)...) {
			n, err := strconv.ParseUint(d, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if n != 0 { // 0 where the pick needed none
				draws.draws = append(draws.draws, n)
			}
		}
		chained += len(l.Then)
		again := *w.oracle
		again.table, again.draws = recompiled(t, file, l.TableHash), draws
		packet, err := base64.StdEncoding.DecodeString(l.Query)
		if err != nil {
			t.Fatal(err)
		}
		in := ask{packet: packet, from: l.Client.Addr(), tcp: true}
		out, o, err := reply(in, 1232, &again, time.Unix(1e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(out); hex.EncodeToString(sum[:]) != l.Answer {
			t.Fatalf("line %s: other bytes", text)
		}
		if o.picks[0].host != l.Host || o.picks[0].backend != l.Backend {
			t.Fatalf("line %s: picked %v", text, o.picks)
		}
	}
	if chained == 0 {
		t.Error("no answer led through two steered names")
	}
}

func drawsOf(l line) (draws []string) {
	for _, p := range l.Then {
		draws = append(draws, p.Draw)
	}
	return draws
}

// recompiled makes a table from the file beside a decision log.
func recompiled(t *testing.T, file, hash string) *steering.Table {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(file+".tables", hash+".json"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := steering.DecodeInputs(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	table, err := steering.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if table.Hash != hash {
		t.Fatalf("the file of table %s compiles to %s", hash, table.Hash)
	}
	return table
}

func TestATapChangesNoAnswer(t *testing.T) {
	dir := t.TempDir()
	w, _ := tapped(t, tap.Config{
		Dnstap:    &tap.DnstapConfig{To: "file:" + dir + "/dnstap", Sample: 1},
		Decisions: &tap.DecisionConfig{File: dir + "/decisions", Sample: 1}})
	w.oracle.draws, w.with.draws = salted{&w.salt}, salted{&w.salt}
	q := newQuestions(w.oracle, 7)
	for range 2000 { // far more than the rings hold
		if packet := q.packet(); packet != nil {
			w.ask(t, ask{packet: packet, from: clients[q.IntN(3)], tcp: q.IntN(4) == 0})
		}
	}
}

func TestAServerShowsWhatItAnswersToItsTap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.log")
	made, err := tap.New(tap.Config{Decisions: &tap.DecisionConfig{File: file, Sample: 1}})
	if err != nil {
		t.Fatal(err)
	}
	table := realTable(t, 1)
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, UDPWorkers: 2, Tap: made,
		Zones: []*Zone{mustZone(t, exampleConfig())}, Draws: steering.NewDraws(1),
		Table: func() *steering.Table { return table }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { err = s.Run(ctx) })
	var want []string
	for _, network := range []string{"udp", "tcp"} {
		for range 20 {
			m := new(dns.Msg).SetQuestion("w.example.test.", dns.TypeA)
			c := dns.Client{Net: network}
			if _, _, err := c.Exchange(m, s.Addrs()[0].String()); err != nil {
				t.Fatal(err)
			}
			want = append(want, network)
		}
	}
	cancel()
	running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file) // Run returns when all is written
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for text := range strings.Lines(string(raw)) {
		var l struct{ Proto string }
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Proto)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("transports (-want +got):\n%s", d)
	}
}

func TestTheApexAboveANameIsThatOfTheDeepestZone(t *testing.T) {
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Zones: []*Zone{
		mustZone(t, ZoneConfig{Name: "test", NS: []string{"ns.invalid"}}),
		mustZone(t, ZoneConfig{Name: "example.test", NS: []string{"ns.invalid"}})}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	zones := apexes{s: s}
	for name, want := range map[string]string{
		"\x03www\x07EXAMPLE\x04test\x00": "\x07example\x04test\x00",
		"\x07example\x04test\x00":        "\x07example\x04test\x00",
		"\x05other\x04test\x00":          "\x04test\x00",
		"\x07invalid\x00":                "",
		"\x00":                           "",
		"":                               "",
	} {
		if got := zones.above([]byte(name)); string(got) != want {
			t.Errorf("above %q is %q, not %q", name, got, want)
		}
	}
}

// BenchmarkTap measures what a tap adds to an answer from the memo: blocks with and without one
// take turns, so that what else the machine does hits both alike.
func BenchmarkTap(b *testing.B) {
	const block = 2000
	packet := commonQueries(b)["steered, address"]
	in, now := ask{packet: packet, from: clients[0]}, time.Unix(1e9, 0)
	for _, c := range []struct {
		name             string
		dnstap, decision int
	}{
		{"dnstap 1 in 1000000", 1e6, 0}, {"dnstap 1 in 100", 100, 0}, {"dnstap all", 1, 0},
		{"decisions 1 in 100", 0, 100}, {"both 1 in 100", 100, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir, cfg := b.TempDir(), tap.Config{}
			if c.dnstap > 0 {
				cfg.Dnstap = &tap.DnstapConfig{To: "file:" + dir + "/dnstap", Sample: c.dnstap}
			}
			if c.decision > 0 {
				cfg.Decisions = &tap.DecisionConfig{File: dir + "/decisions", Sample: c.decision}
			}
			w, made := tapped(b, cfg)
			shown := w.fast.tap
			var took [2][]float64
			for b.Loop() {
				for i, o := range []*observer{nil, shown} {
					w.fast.tap = o
					start := time.Now()
					for range block {
						w.fast.answer(in, w.with, now)
					}
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/block)
				}
				emptied(b, made)
			}
			slices.Sort(took[0])
			slices.Sort(took[1])
			without, with := took[0][len(took[0])/20], took[1][len(took[1])/20]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(without, "ns/query-without")
			b.ReportMetric(with-without, "ns/query-added")
		})
	}
}
