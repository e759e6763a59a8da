package wire_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pointsman/steering/wire"
)

func wireName(labels ...string) []byte {
	var name []byte
	for _, l := range labels {
		name = append(append(name, byte(len(l))), l...)
	}
	return append(name, 0)
}

func find(x *wire.Index, name []byte) int { return x.Find(wire.Hash(name), name) }

func TestAnIndexFindsWhatWasAddedAndNothingElse(t *testing.T) {
	const n = 20_000
	x := wire.NewIndex(n)
	for i := range n {
		x.Add(wireName(fmt.Sprintf("h%d", i), "example", "test"))
	}
	x.Add(wireName("h7", "example", "test")) // again: nothing changes, and no room is needed
	if x.Len() != n {
		t.Fatalf("%d names, want %d", x.Len(), n)
	}
	for i := range n {
		if got := find(x, wireName(fmt.Sprintf("h%d", i), "example", "test")); got != i {
			t.Fatalf("h%d was found as %d", i, got)
		}
		if got := find(x, wireName(fmt.Sprintf("x%d", i), "example", "test")); got != -1 {
			t.Fatalf("x%d was found as %d", i, got)
		}
	}
	for _, other := range [][]byte{wireName(), wireName("h7"), wireName("h7", "example"),
		wireName("h7", "examplf", "test"), wireName("h7.example", "test")} {
		if got := find(x, other); got != -1 {
			t.Errorf("%q was found as %d", other, got)
		}
	}
}

func TestAnEmptyIndexHasNothing(t *testing.T) {
	if got := find(wire.NewIndex(0), wireName("a")); got != -1 {
		t.Errorf("found %d", got)
	}
}

func TestNamesWithTheSameHashAreToldApart(t *testing.T) {
	x := wire.NewIndex(3)
	a, b := wireName("a"), wireName("b")
	x.Add(a)
	if got := x.Find(wire.Hash(a), b); got != -1 {
		t.Errorf("b was found as %d by the hash of a", got)
	}
}

// Every bit of the hash should depend on every octet: half of the bits flip, give or take.
func TestHashesSpread(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	flips, total := 0, 0
	for range 2000 {
		name := make([]byte, 1+r.IntN(40))
		for i := range name {
			name[i] = byte(r.Uint32())
		}
		before := wire.Hash(name)
		name[r.IntN(len(name))] ^= 1 << r.IntN(8)
		for diff := before ^ wire.Hash(name); diff != 0; diff &= diff - 1 {
			flips++
		}
		total += 64
	}
	if share := float64(flips) / float64(total); share < 0.45 || share > 0.55 {
		t.Errorf("a changed bit flips %.3f of the hash", share)
	}
}

func BenchmarkFind(b *testing.B) {
	x := wire.NewIndex(100_000)
	for i := range 100_000 {
		x.Add(wireName(fmt.Sprintf("h%d", i), "example", "test"))
	}
	for about, name := range map[string][]byte{
		"there": wireName("h4711", "example", "test"), "not there": wireName("n1", "example", "test"),
	} {
		b.Run(about, func(b *testing.B) {
			hash := wire.Hash(name)
			for b.Loop() {
				x.Find(hash, name)
			}
		})
	}
}

func BenchmarkNewIndex(b *testing.B) {
	names := make([][]byte, 100_000)
	for i := range names {
		names[i] = wireName(fmt.Sprintf("h%d", i), "example", "test")
	}
	b.ReportAllocs()
	for b.Loop() {
		x := wire.NewIndex(len(names))
		for _, name := range names {
			x.Add(name)
		}
	}
}
