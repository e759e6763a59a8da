package replay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"pointsman/steering"
	"pointsman/steering/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "cdn.example.test."

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shelf holds tables' files by hash, and counts what is read.
type shelf struct {
	files map[string][]byte
	reads map[string]int
}

// tables are n tables that differ in their weights.
func newShelf(t *testing.T, n int) (*shelf, []*steering.Table) {
	t.Helper()
	s := &shelf{files: map[string][]byte{}, reads: map[string]int{}}
	var tables []*steering.Table
	for i := range n {
		in := steering.Inputs{Version: uint64(i + 1), Now: start, Spec: &steering.Spec{
			Backends: []steering.Backend{{Name: "a", CNAME: "a.invalid."}, {Name: "b", CNAME: "b.invalid."}},
			Pools: []steering.Pool{{Name: "all", Members: []steering.Member{
				{Backend: "a", Weight: uint32(i + 1)}, {Backend: "b", Weight: 1}}}},
			Hosts: []steering.Host{{Name: host, TTL: 20 * time.Second, Pools: []string{"all"},
				Stickiness: steering.Spread}}}}
		table, err := steering.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		if s.files[table.Hash], err = steering.EncodeInputs(in, nil); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	return s, tables
}

func (s *shelf) load(hash string) ([]byte, error) {
	s.reads[hash]++
	if data, ok := s.files[hash]; ok {
		return data, nil
	}
	return nil, errors.New("no such file")
}

// line is the line of a decision.
func line(table *steering.Table, draw uint64) string {
	client := netip.MustParsePrefix("192.0.2.7/32")
	d, _ := table.Pick(steering.Query{Host: host, Client: client, Draw: draw})
	return fmt.Sprintf(`{"time":"2026-03-01T12:00:00Z","worker":1,"dropped":3,"host":%q,`+
		`"client":"192.0.2.7/32","draw":"%016x","table_hash":%q,"backend":%q,"pool":%q,`+
		`"reason":%q,"scope":%d,"ttl":%d,"exact":true}`+"\n",
		host, draw, table.Hash, d.Backend, d.Pool, d.Reason, d.Scope, d.TTL)
}

func run(t *testing.T, cfg replay.Config, tables *replay.Tables, text string) *replay.Report {
	t.Helper()
	r, err := replay.Run(t.Context(), cfg, []replay.Source{{Name: "log",
		Reader: strings.NewReader(text), Tables: tables}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryLineIsCountedOnceAndTheFirstDifferencesAreNamed(t *testing.T) {
	s, made := newShelf(t, 3)
	var b strings.Builder
	for i := range uint64(3000) {
		text := line(made[i%3], i<<52)
		if i%100 == 99 {
			text = strings.Replace(text, `"ttl":20`, `"ttl":21`, 1)
		}
		b.WriteString(text)
	}
	b.WriteString("nonsense\n")
	b.WriteString(strings.Replace(line(made[0], 1), "true}", "false}", 1))
	r := run(t, replay.Config{Shown: 2, Workers: 4}, replay.NewTables(replay.TablesConfig{
		Load: s.load}), b.String())
	want := &replay.Report{Lines: 3002, Tables: 3, Dropped: 3,
		Decisions: map[replay.Outcome]int{replay.Equal: 2970, replay.Differs: 30, replay.Unread: 1,
			replay.Inexact: 1},
		Answers: map[replay.Outcome]int{replay.Untold: 2970}, Unmade: map[string]int{}}
	found, unjudged := r.Found, r.Unjudged
	r.Found, r.Unjudged, r.Took = nil, nil, 0
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	if len(found) != 2 || found[0].Line != 100 || found[1].Line != 200 ||
		found[0].Why != "ttl: logged 21, made 20" {
		t.Errorf("found %+v", found)
	}
	if len(unjudged) != 1 || unjudged[0].Line != 3001 {
		t.Errorf("unjudged %+v", unjudged)
	}
	if r.Differ() != 30 || r.Lost() != 1 {
		t.Errorf("%d differ, %d are lost", r.Differ(), r.Lost())
	}
}

func TestTablesAreMadeOnceAndTheOldestMakeRoom(t *testing.T) {
	s, made := newShelf(t, 3)
	tables := replay.NewTables(replay.TablesConfig{Load: s.load, Keep: 2})
	for _, i := range []int{0, 0, 1, 0, 2, 0, 1} { // 2 takes the place of 1, which comes back
		got, err := tables.Table(made[i].Hash)
		if err != nil || got.Hash != made[i].Hash {
			t.Fatalf("table %d: %v", i, err)
		}
	}
	want := map[string]int{made[0].Hash: 1, made[1].Hash: 2, made[2].Hash: 1}
	if d := cmp.Diff(want, s.reads); d != "" {
		t.Errorf("reads (-want +got):\n%s", d)
	}
}

func TestAFileThatCompilesToAnotherTableIsNoTable(t *testing.T) {
	s, made := newShelf(t, 2)
	s.files[made[0].Hash] = s.files[made[1].Hash]
	r := run(t, replay.Config{}, replay.NewTables(replay.TablesConfig{Load: s.load}),
		line(made[0], 1))
	if r.Decisions[replay.NoTable] != 1 || !strings.Contains(r.Unjudged[0].Why, "compiles to") {
		t.Errorf("got %+v", r)
	}
}

func TestFiltersKeepToAHostAndTables(t *testing.T) {
	s, made := newShelf(t, 2)
	text := line(made[0], 1) + line(made[1], 1)
	for _, c := range []struct {
		host, table string
		filtered    int
	}{{"", "", 0}, {host, "", 0}, {"other.test.", "", 2}, {"", made[0].Hash[:10], 1}} {
		r := run(t, replay.Config{Host: c.host, Table: c.table},
			replay.NewTables(replay.TablesConfig{Load: s.load}), text)
		if r.Filtered != c.filtered || r.Decisions[replay.Equal] != 2-c.filtered {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}

func TestAnAnswerIsMadeFromTheLineItself(t *testing.T) {
	s, made := newShelf(t, 1)
	text := strings.Replace(line(made[0], 5), "true}",
		`true,"query":"AQI=","answer_sha256":"aabb","serial":7,"cookie":"cc"}`, 1)
	for about, c := range map[string]struct {
		same bool
		err  error
		want replay.Outcome
	}{
		"the same": {true, nil, replay.Equal}, "another": {false, nil, replay.Differs},
		"signed": {false, errors.New("signed"), replay.Unmade},
	} {
		repeat := func(table *steering.Table, l *replay.Line, draws []uint64) (bool, error) {
			if table.Hash != made[0].Hash || string(l.Query) != "\x01\x02" || *l.Serial != 7 ||
				string(l.Cookie) != "\xcc" || !cmp.Equal(draws, []uint64{5}) {
				t.Errorf("given %+v, draws %v", l, draws)
			}
			return c.same, c.err
		}
		r := run(t, replay.Config{Repeat: repeat}, replay.NewTables(replay.TablesConfig{
			Load: s.load}), text)
		if r.Answers[c.want] != 1 || (c.err != nil) != (r.Unmade["signed"] == 1) {
			t.Errorf("%s: %+v", about, r)
		}
	}
}

func TestALogThatBreaksOffIsAnErrorAndOneThatIsStoppedToo(t *testing.T) {
	s, made := newShelf(t, 1)
	tables := replay.NewTables(replay.TablesConfig{Load: s.load})
	broken := io.MultiReader(strings.NewReader(line(made[0], 1)), brokenReader{})
	_, err := replay.Run(t.Context(), replay.Config{}, []replay.Source{{Name: "log", Reader: broken,
		Tables: tables}})
	if err == nil || !strings.Contains(err.Error(), "log: line 2: broken") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = replay.Run(ctx, replay.Config{}, []replay.Source{{Name: "log", Tables: tables,
		Reader: strings.NewReader(strings.Repeat(line(made[0], 1), 100_000))}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestLinesAreReadStrictlyWhereItMatters(t *testing.T) {
	_, made := newShelf(t, 1)
	good := strings.TrimSpace(line(made[0], 1))
	if _, err := replay.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for about, bad := range map[string]string{
		"empty": "", "cut": good[:100], "two": good + good, "a list": "[]",
		"a hash that leads elsewhere": strings.Replace(good, made[0].Hash, "../../etc/passwd", 1),
		"no host":                     strings.Replace(good, `"host"`, `"hots"`, 1),
		"a bad draw":                  strings.Replace(good, `"draw":"`, `"draw":"x`, 1),
	} {
		if _, err := replay.Parse([]byte(bad)); err == nil {
			t.Errorf("%s was taken", about)
		}
	}
}
