package storage_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/edge/storage"
)

func all(*storage.Object) bool { return true }

func key(path string) storage.Key {
	return storage.Key{Scheme: "http", Host: "a.test", Path: path}
}

// object makes an object of n body bytes.
func object(path string, n int, tags ...string) *storage.Object {
	return &storage.Object{Key: key(path), Status: 200, Body: make([]byte, n), Tags: tags}
}

// put stores an object by a fetch of its own.
func put(c *storage.Cache, o *storage.Object) bool {
	f := c.Begin(o.Key)
	defer f.End()
	return c.Put(f, o)
}

// has says whether anything is found under a path.
func has(c *storage.Cache, path string) bool {
	found, _ := c.Get(key(path), all)
	return found.Object != nil
}

func TestAnObjectIsFoundByKeyAndMatch(t *testing.T) {
	c := storage.New(1 << 20)
	de, en := object("/", 1), object("/", 2)
	de.Variant, en.Variant = "de", "en"
	put(c, de)
	put(c, en)
	found, newest := c.Get(key("/"), func(o *storage.Object) bool { return o.Variant == "de" })
	if found.Object != de || newest != en {
		t.Errorf("got %v, newest %v", found.Object, newest)
	}
	found, newest = c.Get(key("/"), func(*storage.Object) bool { return false })
	if found.Object != nil || newest != en {
		t.Errorf("without match: got %v, newest %v", found.Object, newest)
	}
	if _, newest = c.Get(key("/other"), all); newest != nil {
		t.Errorf("another key gave %v", newest)
	}
}

func TestAnObjectReplacesTheOneOfItsVariant(t *testing.T) {
	c := storage.New(1 << 20)
	put(c, object("/", 100))
	want := c.Stats()
	for range 10 {
		put(c, object("/", 100))
	}
	if d := cmp.Diff(want, c.Stats()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestVariantsOfOneKeyAreBounded(t *testing.T) {
	c := storage.New(1 << 24)
	for i := range 1000 {
		o := object("/", 1)
		o.Variant = fmt.Sprint(i)
		put(c, o)
	}
	if n := c.Stats().Objects; n != 64 {
		t.Errorf("%d variants are stored", n)
	}
	found, _ := c.Get(key("/"), func(o *storage.Object) bool { return o.Variant == "999" })
	if found.Object == nil {
		t.Error("the newest variant is gone")
	}
}

func TestTheLimitHoldsExactlyAndTheSumIsThatOfTheSizes(t *testing.T) {
	const limit = 200_000
	c := storage.New(limit)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		path := fmt.Sprintf("/%d", random.IntN(400))
		put(c, object(path, random.IntN(20_000), "t"+path, "common"))
		if s := c.Stats(); s.Bytes > limit {
			t.Fatalf("after %d: %d bytes", i, s.Bytes)
		}
	}
	var sum int64
	objects := 0
	for i := range 400 {
		if found, _ := c.Get(key(fmt.Sprintf("/%d", i)), all); found.Object != nil {
			sum += found.Object.Size()
			objects++
		}
	}
	if s := c.Stats(); s.Bytes != sum || s.Objects != objects || s.Evicted == 0 {
		t.Errorf("counted %d bytes, %d objects; stats %+v", sum, objects, s)
	}
	c.Purge(storage.Target{Kind: storage.Prefix, Host: "a.test", Path: "/"}, false, epoch)
	want := storage.Stats{Limit: limit, Evicted: c.Stats().Evicted}
	if d := cmp.Diff(want, c.Stats()); d != "" {
		t.Errorf("emptied: (-want +got)\n%s", d)
	}
}

func TestWhatIsLargerThanTheLimitIsRefused(t *testing.T) {
	c := storage.New(10_000)
	put(c, object("/small", 10))
	if put(c, object("/large", 10_000)) || !has(c, "/small") {
		t.Error("an object over the limit was stored, or cost others")
	}
	if put(storage.New(-1), object("/", 0)) {
		t.Error("a cache of nothing stored something")
	}
}

func TestTheLimitHoldsUnderConcurrency(t *testing.T) {
	const limit = 300_000
	c := storage.New(limit)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 9))
			for i := range 1500 {
				path := fmt.Sprintf("/%d", random.IntN(300))
				switch {
				case i%3 == 0:
					put(c, object(path, random.IntN(9000), "t", path))
				case i%97 == 0:
					c.Purge(storage.Target{Kind: storage.Tag, Tag: path}, i%2 == 0, epoch)
				case i%101 == 0:
					c.Purge(storage.Target{Kind: storage.URL, Host: "a.test", Path: path},
						i%2 == 0, epoch)
				default:
					has(c, path)
				}
				if s := c.Stats(); s.Bytes > limit || s.Bytes < 0 {
					t.Errorf("%d bytes", s.Bytes)
					return
				}
			}
		})
	}
	wg.Wait()
	c.Purge(storage.Target{Kind: storage.Everything}, false, epoch)
	for i := range 300 {
		if has(c, fmt.Sprintf("/%d", i)) {
			t.Fatalf("/%d survived the purge of everything", i)
		}
	}
	if s := c.Stats(); s.Bytes != 0 || s.Objects != 0 || s.Tags != 0 {
		t.Errorf("something is left over: %+v", s)
	}
}

func TestHotObjectsSurviveAScan(t *testing.T) {
	c := storage.New(100 * object("/xxxx", 1000).Size())
	for round := range 3 {
		for i := range 20 {
			path := fmt.Sprintf("/hot%d", i)
			if round == 0 {
				put(c, object(path, 1000))
			}
			has(c, path)
		}
	}
	for i := range 5000 {
		put(c, object(fmt.Sprintf("/%d", i), 1000))
	}
	for i := range 20 {
		if !has(c, fmt.Sprintf("/hot%d", i)) {
			t.Errorf("/hot%d was evicted by a scan", i)
		}
	}
}

// lru is the policy to beat: its hit ratio over a sequence of keys, with room for n.
func lru(keys []string, n int) (hits int) {
	at := map[string]int{}
	for i, k := range keys {
		if _, ok := at[k]; ok {
			hits++
		} else if len(at) == n {
			oldest, when := "", i
			for k, j := range at {
				if j < when {
					oldest, when = k, j
				}
			}
			delete(at, oldest)
		}
		at[k] = i
	}
	return hits
}

func TestEvictionHitsMoreThanLRUOnASkewedTrace(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(random, 1.05, 1, 9999)
	var keys []string
	for range 30_000 {
		keys = append(keys, fmt.Sprintf("/%05d", zipf.Uint64()))
	}
	const room = 200
	c := storage.New(room * object("/00000", 500).Size())
	hits := 0
	for _, k := range keys {
		if has(c, k) {
			hits++
		} else {
			put(c, object(k, 500))
		}
	}
	if reference := lru(keys, room); hits < reference+len(keys)/50 {
		t.Errorf("%d hits, LRU has %d of %d", hits, reference, len(keys))
	}
}

func TestSizeCountsAllThatAnObjectHolds(t *testing.T) {
	small := object("/", 0)
	large := object("/", 5, "tag")
	large.Header = map[string][]string{"X": {strings.Repeat("x", 1000)}}
	large.VaryNames, large.Variant = []string{"Foo"}, "Foo:1"
	if d := large.Size() - small.Size(); d < 1005+3+3+5 {
		t.Errorf("a kilobyte of header, body and tag counted for %d", d)
	}
}

func BenchmarkGet(b *testing.B) {
	c := storage.New(1 << 24)
	for i := range 1000 {
		put(c, object(fmt.Sprint(i), 1000, "tag"))
	}
	k := key("500")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get(k, all)
		}
	})
}
