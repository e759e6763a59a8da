package freshness_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/edge/freshness"
)

func TestVaryKeyIgnoresOrderAndSpaceWhereTheyMeanNothing(t *testing.T) {
	names, star := freshness.VaryNames(header("Vary: foo, Accept-Language", "Vary: FOO"))
	if d := cmp.Diff([]string{"Accept-Language", "Foo"}, names); d != "" || star {
		t.Fatalf("names: star %v\n%s", star, d)
	}
	same := [][2][]string{
		{{"Foo: 1, 2"}, {"Foo: 1,2"}},
		{{"Foo: 1,2"}, {"Foo: 1", "Foo: 2"}},
		{{"Accept-Language: de, en;q=0.5"}, {"Accept-Language: EN; q=0.5,de"}},
		{{"Bar: 1"}, {"Bar: 2"}},
	}
	for _, pair := range same {
		if a, b := freshness.VaryKey(names, header(pair[0]...)),
			freshness.VaryKey(names, header(pair[1]...)); a != b {
			t.Errorf("%q and %q differ: %q, %q", pair[0], pair[1], a, b)
		}
	}
	differ := [][2][]string{
		{{"Foo: 1, 2"}, {"Foo: 2, 1"}},
		{{"Foo: a"}, {"Foo: A"}},
		{{"Foo:"}, nil},
		{{"Foo: 1"}, {"Accept-Language: 1"}},
		{{"Accept-Language: de"}, {"Accept-Language: de, en"}},
	}
	for _, pair := range differ {
		if a, b := freshness.VaryKey(names, header(pair[0]...)),
			freshness.VaryKey(names, header(pair[1]...)); a == b {
			t.Errorf("%q and %q have one key %q", pair[0], pair[1], a)
		}
	}
}

func TestNotModifiedComparesWeaklyAndPrefersTags(t *testing.T) {
	modified := httpDate(epoch)
	stored := header(`ETag: W/"a,b"`, "Last-Modified: "+modified)
	for name, c := range map[string]struct {
		lines []string
		want  bool
	}{
		"strong against weak": {[]string{`If-None-Match: "a,b"`}, true},
		"one of many":         {[]string{`If-None-Match: "x", W/"a,b"`}, true},
		"in a second line":    {[]string{`If-None-Match: "x"`, `If-None-Match: "a,b"`}, true},
		"star":                {[]string{"If-None-Match: *"}, true},
		"another":             {[]string{`If-None-Match: "a"`}, false},
		"the tag rules":       {[]string{`If-None-Match: "x"`, "If-Modified-Since: " + modified}, false},
		"same date":           {[]string{"If-Modified-Since: " + modified}, true},
		"later date":          {[]string{"If-Modified-Since: " + httpDate(epoch.Add(time.Hour))}, true},
		"earlier date":        {[]string{"If-Modified-Since: " + httpDate(epoch.Add(-1e9))}, false},
		"a date that is none": {[]string{"If-Modified-Since: yesterday"}, false},
		"no condition":        {nil, false},
		"tag broken off":      {[]string{`If-None-Match: "a,b`}, false},
	} {
		if got := freshness.NotModified(header(c.lines...), stored, epoch); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if freshness.NotModified(header(`If-None-Match: ""`), header(), epoch) {
		t.Error("a response without a tag matched an empty one")
	}
}

func TestRangeHoldsNeedsAStrongMatch(t *testing.T) {
	stored := header(`ETag: "a"`, "Last-Modified: "+httpDate(epoch))
	for cond, want := range map[string]bool{
		`"a"`: true, `W/"a"`: false, `"b"`: false, httpDate(epoch): true,
		httpDate(epoch.Add(time.Second)): false,
	} {
		if got := freshness.RangeHolds(header("If-Range: "+cond), stored); got != want {
			t.Errorf("If-Range %s: got %v", cond, got)
		}
	}
}

func TestUpdateReplacesFieldsButNotWhatDescribesTheBody(t *testing.T) {
	stored := header("X: old", "Y: kept", "Content-Length: 5", "Content-Type: a", "Age: 9")
	got := freshness.Update(stored, header("X: new", "Content-Length: 0", "Content-Type: b", "Z: 1"))
	want := header("X: new", "Y: kept", "Content-Length: 5", "Content-Type: a", "Z: 1")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if stored.Get("X") != "old" {
		t.Error("the stored header was edited")
	}
}
