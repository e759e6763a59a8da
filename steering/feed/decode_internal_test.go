package feed

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// noc is a feed that may say everything of two backends.
func noc(edit ...func(*Feed)) *Feed {
	f := &Feed{Name: "noc", Keep: 5 * time.Minute, Hold: 10 * time.Second, DeadBand: 2,
		Backends: []string{"a", "b"}, Fields: Fields(), Hosts: []string{"cdn.example.test"}}
	for _, e := range edit {
		e(f)
	}
	return f
}

// brief is what a document says, as lines.
func brief(d document) []string {
	var out []string
	for _, at := range slices.SortedFunc(maps.Keys(d.said), compareKeys) {
		s := d.said[at]
		out = append(out, at.path()+" "+text(at.Field, s.value, s.withdrawn)+" "+
			start.Sub(s.at).String())
	}
	for _, r := range d.refused {
		out = append(out, "refused "+r.Path+" "+r.Reason)
	}
	return out
}

func TestDocumentsAreReadStrictlyEntryByEntry(t *testing.T) {
	long := strings.Repeat("x", 100)
	for about, c := range map[string]struct {
		doc  string
		want []string
	}{
		"everything": {`{"backends": {"a": {"up": true, "drain": false, "weight": 80, "capacity": 4000,
			"cost": 0.02, "load": 1234.5, "at": "2026-03-01T11:59:00Z",
			"hosts": {"CDN.example.test.": {"load": 900}}}}}`, []string{
			"backends.a.capacity 4000 1m0s", "backends.a.cost 0.020000 1m0s",
			"backends.a.drain false 1m0s", "backends.a.load 1234.500 1m0s",
			"backends.a.hosts.cdn.example.test.load 900.000 1m0s", "backends.a.up true 1m0s",
			"backends.a.weight 80% 1m0s"}},
		"nothing":         {`{"backends": {}}`, nil},
		"an empty entry":  {`{"backends": {"a": {}}}`, nil},
		"withdrawn":       {`{"backends": {"a": {"weight": null}}}`, []string{"backends.a.weight config 0s"}},
		"exponent":        {`{"backends": {"a": {"cost": 2e-2}}}`, []string{"backends.a.cost 0.020000 0s"}},
		"a rounded third": {`{"backends": {"a": {"cost": 0.30000000000000004}}}`, []string{"backends.a.cost 0.300000 0s"}},
		"a little ahead":  {`{"backends": {"a": {"up": true, "at": "2026-03-01T12:00:59Z"}}}`, []string{"backends.a.up true 0s"}},
		"one bad field takes its entry": {`{"backends": {"a": {"up": true, "weight": -1}, "b": {"up": true}}}`,
			[]string{"backends.b.up true 0s", "refused backends.a.weight value"}},
		"unknown backend": {`{"backends": {"c": {"up": true}, "b": {"up": true}}}`,
			[]string{"backends.b.up true 0s", "refused backends.c backend"}},
		"unknown field": {`{"backends": {"a": {"upp": true}}}`, []string{"refused backends.a.upp field"}},
		"other case":    {`{"backends": {"a": {"Up": true}}}`, []string{"refused backends.a.Up field"}},
		"unknown key":   {`{"backends": {}, "extra": 1}`, []string{"refused extra field"}},
		"unknown host": {`{"backends": {"a": {"hosts": {"www.example.test": {"load": 1}}}}}`,
			[]string{"refused backends.a.hosts.www.example.test host"}},
		"a host's weight": {`{"backends": {"a": {"hosts": {"cdn.example.test": {"weight": 1}}}}}`,
			[]string{"refused backends.a.hosts.cdn.example.test.weight field"}},
		"from the future": {`{"backends": {"a": {"up": true, "at": "2026-03-01T12:02:00Z"}}}`,
			[]string{"refused backends.a.at time"}},
		"too old": {`{"backends": {"a": {"up": true, "at": "2026-03-01T11:55:00Z"}}}`,
			[]string{"refused backends.a.at time"}},
		"no time":         {`{"backends": {"a": {"up": true, "at": 12}}}`, []string{"refused backends.a.at time"}},
		"a field twice":   {`{"backends": {"a": {"up": true, "up": false}}}`, []string{"refused backends.a value"}},
		"a long name":     {`{"backends": {"` + long + `": {}}}`, []string{"refused backends." + long[:60] + "… backend"}},
		"up as text":      {`{"backends": {"a": {"up": "true"}}}`, []string{"refused backends.a.up value"}},
		"up as number":    {`{"backends": {"a": {"up": 1}}}`, []string{"refused backends.a.up value"}},
		"weight too high": {`{"backends": {"a": {"weight": 1001}}}`, []string{"refused backends.a.weight value"}},
		"weight in parts": {`{"backends": {"a": {"weight": 0.5}}}`, []string{"refused backends.a.weight value"}},
		"no capacity":     {`{"backends": {"a": {"capacity": 0}}}`, []string{"refused backends.a.capacity value"}},
		"cost below 0":    {`{"backends": {"a": {"cost": -0.1}}}`, []string{"refused backends.a.cost value"}},
		"cost as text":    {`{"backends": {"a": {"cost": "0.1"}}}`, []string{"refused backends.a.cost value"}},
		"load too high":   {`{"backends": {"a": {"load": 1e13}}}`, []string{"refused backends.a.load value"}},
		"load is a list":  {`{"backends": {"a": {"load": []}}}`, []string{"refused backends.a.load value"}},
		"entry is null":   {`{"backends": {"a": null}}`, []string{"refused backends.a value"}},
	} {
		d, err := decode(noc(), []byte(c.doc), start)
		if err != nil {
			t.Errorf("%s: %v", about, err)
		}
		if diff := cmp.Diff(c.want, brief(d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", about, diff)
		}
	}
}

func TestWhatIsNoDocumentIsRefusedAsAWhole(t *testing.T) {
	for _, doc := range []string{"", "null", "[]", "7", `"x"`, "{", `{"backends": []}`, `{"backends": null}`,
		"{}", `{"backends": {}} x`, `{"backends": {}}{}`, `{"backends": {"a": {}, "a": {}}}`,
		`{"backends": {}, "backends": {}}`, "<html>", strings.Repeat("[", 20_000)} {
		if d, err := decode(noc(), []byte(doc), start); err == nil || len(d.said) > 0 {
			t.Errorf("%.40s: taken", doc)
		}
	}
}

func TestAFeedMaySpeakOnlyOfWhatTheConfigAllows(t *testing.T) {
	f := noc(func(f *Feed) { f.Fields = []steering.Field{steering.FieldCost} })
	d, err := decode(f, []byte(`{"backends": {"a": {"up": false}, "b": {"cost": 1}}}`), start)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"backends.b.cost 1.000000 0s", "refused backends.a.up field"},
		brief(d)); diff != "" {
		t.Error(diff)
	}
}

func FuzzDocumentsNeverLeadOutOfBounds(f *testing.F) {
	f.Add([]byte(`{"backends": {"a": {"up": true, "weight": 80, "cost": 0.02, "load": 1e3}}}`))
	f.Add([]byte(`{"backends": {"b": {"capacity": null, "at": "2026-03-01T11:59:00Z",
		"hosts": {"cdn.example.test": {"load": 1}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		feed := noc()
		d, err := decode(feed, data, start)
		if err != nil && len(d.said) > 0 {
			t.Fatal("an unreadable document says something")
		}
		for at, s := range d.said {
			if !feed.allows(at.Backend, at.Field) || !within(at.Field, s.value) ||
				s.at.After(start) || start.Sub(s.at) >= feed.Keep {
				t.Fatalf("%v: %v", at, s)
			}
		}
		for _, r := range d.refused {
			if len(r.Path) > 400 || r.Reason == "" {
				t.Fatalf("%+v", r)
			}
		}
	})
}
