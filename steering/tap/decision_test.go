package tap_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/tap"
)

// lines reads a decision log.
func lines(t *testing.T, name string) (out []map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(raw)) {
		var l map[string]any
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		out = append(out, l)
	}
	return out
}

func TestALineSaysWhoWasSentWhereAndWhy(t *testing.T) {
	name := filepath.Join(t.TempDir(), "decisions")
	made, reg := newTap(t, tap.Config{Decisions: &tap.DecisionConfig{File: name, Sample: 1}})
	table, source := table(t, 3), made.Source(4)
	e := event(table)
	e.DO = true
	offer(source, e)
	e.Picks = nil // nothing was picked: no line
	offer(source, e)
	running(t, made)()
	want := []map[string]any{{"time": "2026-03-01T12:00:00.123456789Z", "worker": 4.0, "seq": 1.0,
		"dropped": 0.0, "sample": 1.0, "proto": "udp", "host": host, "qtype": "A", "do": true,
		"client": "192.0.2.7/32", "client_source": "resolver", "draw": "0000000000000005",
		"table_version": 3.0, "table_hash": table.Hash, "backend": "a", "pool": "all",
		"reason": "pool", "scope": 25.0, "ttl": 20.0, "rcode": "NOERROR", "exact": true,
		"query":         "EjQBAAABAAAAAAAAA2NkbgdleGFtcGxlBHRlc3QAAAEAAQ==",
		"answer_sha256": "",
	}}
	got := lines(t, name)
	if len(got[0]["answer_sha256"].(string)) != 64 {
		t.Errorf("answer_sha256 is %v", got[0]["answer_sha256"])
	}
	got[0]["answer_sha256"] = ""
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	wantCounts := map[string]float64{"decisions written": 1, "written": 1}
	if d := cmp.Diff(wantCounts, counts(t, reg)); d != "" {
		t.Errorf("counters (-want +got):\n%s", d)
	}
}

func TestALineTellsNoMoreOfAClientThanItMay(t *testing.T) {
	for _, c := range []struct {
		tell   tap.Client
		prefix string
		subnet bool   // whether the query has 192.0.2.0/24
		client string // what the line says
		exact  bool
		query  bool
	}{
		{tap.FullClient, "192.0.2.200/32", false, "192.0.2.200/32", true, true},
		{tap.ClientPrefix, "192.0.2.7/32", false, "192.0.2.0/24", true, true},
		{tap.ClientPrefix, "192.0.2.200/32", false, "192.0.2.0/24", false, true}, // at the place
		{tap.ClientPrefix, "192.0.2.0/24", true, "192.0.2.0/24", true, true},
		{tap.ClientPrefix, "2001:db8:1:2::/64", false, "2001:db8:1::/56", true, true},
		{tap.NoClient, "192.0.2.0/24", true, "", false, false},
	} {
		name := filepath.Join(t.TempDir(), "decisions")
		made, _ := newTap(t, tap.Config{Decisions: &tap.DecisionConfig{File: name, Sample: 1,
			Client: c.tell}})
		e := event(table(t, 3))
		e.Prefix, e.ECS, e.Query = netip.MustParsePrefix(c.prefix), c.subnet, query(c.subnet)
		offer(made.Source(1), e)
		cookie := query(true)
		cookie[len(cookie)-10] = 10 // the option is another, which may tell anything
		e.Query = cookie
		offer(made.Source(1), e)
		running(t, made)()
		got := lines(t, name)
		client, _ := got[0]["client"].(string)
		if client != c.client || got[0]["exact"] != c.exact || (got[0]["query"] != nil) != c.query {
			t.Errorf("%+v: %v", c, got[0])
		}
		if told := got[1]["query"] != nil; told != (c.tell == tap.FullClient) {
			t.Errorf("%+v: a query with an unknown option is told: %v", c, told)
		}
	}
}

func TestOnlyTheLastTablesStay(t *testing.T) {
	name := filepath.Join(t.TempDir(), "decisions")
	made, reg := newTap(t, tap.Config{Decisions: &tap.DecisionConfig{File: name, Sample: 1,
		Tables: 2}})
	source := made.Source(1)
	for version := range uint64(5) {
		offer(source, event(table(t, version+1)))
	}
	running(t, made)()
	files, err := os.ReadDir(name + ".tables")
	if err != nil {
		t.Fatal(err)
	}
	if c := counts(t, reg); len(files) != 2 || c["written"] != 5 || c["deleted"] != 3 {
		t.Errorf("%d files, counters %v", len(files), c)
	}
	last := filepath.Join(name+".tables", table(t, 5).Hash+".json")
	if _, err := os.Stat(last); err != nil {
		t.Error(err)
	}
}

func TestAFileIsPutAsideAndOldOnesGo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "decisions")
	table := table(t, 1)
	for range 6 { // each run writes what is beyond max_size already
		made, _ := newTap(t, tap.Config{Decisions: &tap.DecisionConfig{File: name, Sample: 1,
			MaxSize: 10, Keep: 2}})
		offer(made.Source(1), event(table))
		running(t, made)()
	}
	var have []string
	files, err := filepath.Glob(name + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		have = append(have, filepath.Base(f))
	}
	want := []string{"decisions", "decisions.1", "decisions.2", "decisions.tables"}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if got := lines(t, name+".2"); len(got) != 1 {
		t.Errorf("%d lines in an old file", len(got))
	}
}

func TestWhatCannotBeWrittenIsCounted(t *testing.T) {
	dir := t.TempDir()
	for about, name := range map[string]string{
		"no folder": filepath.Join(dir, "missing", "decisions"), "a folder": dir} {
		made, reg := newTap(t, tap.Config{Decisions: &tap.DecisionConfig{File: name, Sample: 1},
			Dnstap: &tap.DnstapConfig{To: "file:" + name, Sample: 1}})
		offer(made.Source(1), event(table(t, 1)))
		running(t, made)()
		if c := counts(t, reg); c["decisions failed"] != 1 || c["dnstap failed"] != 1 {
			t.Errorf("%s: counters %v", about, c)
		}
	}
}
