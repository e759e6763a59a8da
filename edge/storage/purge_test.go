package storage_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/edge/storage"
)

var epoch = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// targets name the object /a/1, which carries the tag "red", in every way there is.
var targets = map[string]storage.Target{
	"url":        {Kind: storage.URL, Host: "a.test", Path: "/a/1"},
	"prefix":     {Kind: storage.Prefix, Host: "a.test", Path: "/a/"},
	"host":       {Kind: storage.Host, Host: "a.test"},
	"tag":        {Kind: storage.Tag, Tag: "red"},
	"everything": {Kind: storage.Everything},
}

// fill stores /a/1 with two variants and both schemes, and others beside it.
func fill(c *storage.Cache) {
	for _, scheme := range []string{"http", "https"} {
		for _, variant := range []string{"de", "en"} {
			o := object("/a/1", 10, "red", "blue")
			o.Key.Scheme, o.Variant = scheme, variant
			put(c, o)
		}
	}
	put(c, object("/a/2", 10, "blue"))
	put(c, object("/b", 10))
	other := object("/a/1", 10)
	other.Key.Host = "b.test"
	put(c, other)
}

func TestAHardPurgeRemovesWhatItNamesAndNothingElse(t *testing.T) {
	type state struct {
		Hit                  int
		A1, HTTPS, A2, B, Of bool
	}
	want := map[string]state{
		"url":        {Hit: 4, A2: true, B: true, Of: true},
		"prefix":     {Hit: 5, B: true, Of: true},
		"host":       {Hit: 6, Of: true},
		"tag":        {Hit: 4, A2: true, B: true, Of: true},
		"everything": {Hit: 7},
	}
	for name, target := range targets {
		c := storage.New(1 << 20)
		fill(c)
		p := c.Purge(target, false, epoch)
		https, _ := c.Get(storage.Key{Scheme: "https", Host: "a.test", Path: "/a/1"}, all)
		of, _ := c.Get(storage.Key{Scheme: "http", Host: "b.test", Path: "/a/1"}, all)
		got := state{p.Objects, has(c, "/a/1"), https.Object != nil, has(c, "/a/2"),
			has(c, "/b"), of.Object != nil}
		if d := cmp.Diff(want[name], got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
		if again := c.Purge(target, false, epoch); again.Objects != 0 ||
			again.Generation != p.Generation+1 {
			t.Errorf("%s again: %+v", name, again)
		}
		if put(c, object("/a/1", 10, "red")); !has(c, "/a/1") {
			t.Errorf("%s: a fetch after the purge could not store", name)
		}
	}
}

func TestASoftPurgeKeepsTheObjectAndSaysSinceWhen(t *testing.T) {
	for name, target := range targets {
		c := storage.New(1 << 20)
		fill(c)
		c.Purge(target, true, epoch)
		found, _ := c.Get(key("/a/1"), all)
		if found.Object == nil || !found.SoftPurged.Equal(epoch) {
			t.Errorf("%s: got %+v", name, found)
		}
		renewed := object("/a/1", 10, "red")
		renewed.Variant = found.Object.Variant
		put(c, renewed)
		found, _ = c.Get(key("/a/1"), func(o *storage.Object) bool { return o == renewed })
		if found.Object == nil || !found.SoftPurged.IsZero() {
			t.Errorf("%s, fetched anew: got %+v", name, found)
		}
	}
}

func TestAPurgeReachesAFetchThatBeganBeforeIt(t *testing.T) {
	for name, target := range targets {
		c := storage.New(1 << 20)
		f := c.Begin(key("/a/1"))
		c.Purge(target, false, epoch)
		if purged, known := f.Purged([]string{"red"}, true); !purged || !known {
			t.Errorf("%s: the fetch does not know", name)
		}
		if c.Put(f, object("/a/1", 10, "red")) || has(c, "/a/1") {
			t.Errorf("%s: what was purged on its way was stored", name)
		}
		f.End()
		if s := c.Stats(); s.Tags != 0 || s.Bytes != 0 {
			t.Errorf("%s: left over: %+v", name, s)
		}

		f = c.Begin(key("/a/1"))
		c.Purge(target, true, epoch)
		stored := c.Put(f, object("/a/1", 10, "red"))
		f.End()
		if found, _ := c.Get(key("/a/1"), all); !stored || !found.SoftPurged.Equal(epoch) {
			t.Errorf("%s, softly: stored %v, %+v", name, stored, found)
		}
	}
}

func TestAPurgeOfSomethingElseLeavesAFetchAlone(t *testing.T) {
	c := storage.New(1 << 20)
	f := c.Begin(key("/a/1"))
	defer f.End()
	c.Purge(storage.Target{Kind: storage.Prefix, Host: "a.test", Path: "/b"}, false, epoch)
	if purged, known := f.Purged(nil, false); purged || known {
		t.Errorf("before the head: purged %v, known %v", purged, known)
	}
	c.Purge(storage.Target{Kind: storage.Tag, Tag: "green"}, false, epoch)
	if purged, known := f.Purged([]string{"red"}, true); purged || !known {
		t.Errorf("with the head: purged %v, known %v", purged, known)
	}
	if !c.Put(f, object("/a/1", 10, "red")) || !has(c, "/a/1") {
		t.Error("it could not be stored")
	}
}

func TestAnEndedFetchTakesEveryLaterPurgeForItsOwn(t *testing.T) {
	for name, target := range targets {
		c := storage.New(1 << 20)
		f := c.Begin(key("/a/1"))
		c.Put(f, object("/a/1", 10, "red"))
		f.End()
		if purged, known := f.Purged([]string{"red"}, true); purged || !known {
			t.Errorf("%s: purged before any purge", name)
		}
		c.Purge(target, false, epoch)
		has(c, "/a/1") // drops the dead object, and with it what is remembered of the purge
		if purged, _ := f.Purged([]string{"red"}, true); !purged {
			t.Errorf("%s: the purge is forgotten", name)
		}
	}
}

func TestPurgesOfUnknownTagsLeaveNothingBehind(t *testing.T) {
	c := storage.New(1 << 20)
	f := c.Begin(key("/"))
	for i := range 100 {
		c.Purge(storage.Target{Kind: storage.Tag, Tag: fmt.Sprint(i)}, i%2 == 0, epoch)
	}
	if n := c.Stats().Tags; n != 100 {
		t.Errorf("with a fetch under way %d records are kept", n)
	}
	f.End()
	if n := c.Stats().Tags; n != 0 {
		t.Errorf("%d records are kept for nothing", n)
	}
}

func TestTagRecordsLeaveWithTheirLastObject(t *testing.T) {
	c := storage.New(1 << 20)
	for i := range 50 {
		put(c, object("/same", 10, fmt.Sprint(i), "kept"))
	}
	if n := c.Stats().Tags; n != 3 { // its host, its two tags
		t.Errorf("%d records for one object", n)
	}
	if p := c.Purge(storage.Target{Kind: storage.Tag, Tag: "kept"}, false, epoch); p.Objects != 1 {
		t.Errorf("purged %d", p.Objects)
	}
}

func TestHostCountsItsObjects(t *testing.T) {
	c := storage.New(1 << 20)
	fill(c)
	n, bytes := c.Host("b.test")
	other := object("/a/1", 10)
	other.Key.Host = "b.test"
	if n != 1 || bytes != other.Size() {
		t.Errorf("got %d objects, %d bytes", n, bytes)
	}
	if n, _ = c.Host("none.test"); n != 0 {
		t.Errorf("an unknown host has %d", n)
	}
}

func BenchmarkPurgeTagOfManyObjects(b *testing.B) {
	c := storage.New(1 << 28)
	for i := range 50_000 {
		put(c, object(fmt.Sprint(i), 100, "tag"))
	}
	for b.Loop() {
		c.Purge(storage.Target{Kind: storage.Tag, Tag: "tag"}, true, epoch)
	}
}

func TestEndingAFetchCostsLittleWhateverWasPurgedMeanwhile(t *testing.T) {
	c := storage.New(1 << 20)
	for i := range 300 {
		defer c.Begin(storage.Key{Path: strconv.Itoa(i)}).End()
	}
	for i := range 10_000 {
		c.Purge(storage.Target{Kind: storage.Tag, Tag: strconv.Itoa(i)}, false, time.Now())
	}
	began := time.Now()
	for range 100 {
		c.Begin(storage.Key{Path: "/"}).End()
	}
	if took := time.Since(began); took > time.Second { // it was 5 s and more
		t.Errorf("100 fetches took %v", took)
	}
}
