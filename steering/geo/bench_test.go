package geo_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pointsman/steering/geo"
)

// visitors are random addresses in use: IPv4 of all of the unicast space, IPv6 of what the
// registries hand out.
func visitors(n int, v6 bool) []netip.Prefix {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]netip.Prefix, n)
	for i := range list {
		if !v6 {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], 0x01000000+r.Uint32N(0xdf000000))
			list[i] = netip.PrefixFrom(netip.AddrFrom4(a), 24).Masked()
			continue
		}
		tops := []uint64{0x2001, 0x2400, 0x2405, 0x2600, 0x2804, 0x2a00, 0x2a02, 0x2a10, 0x2c0f}
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], tops[r.IntN(len(tops))]<<48|r.Uint64()>>16)
		list[i] = netip.PrefixFrom(netip.AddrFrom16(a), 56).Masked()
	}
	return list
}

func builtin(t testing.TB) *geo.Locator {
	t.Helper()
	l, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func europe() []geo.Rule {
	return []geo.Rule{
		{Countries: []string{"DE", "AT", "CH"}},
		{Countries: []string{"US", "CA", "MX"}},
		{Countries: []string{"CN"}},
		{Countries: []string{"JP", "KR", "TW", "SG"},
			Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
	}
}

func BenchmarkLocate(b *testing.B) {
	l := builtin(b)
	for name, v6 := range map[string]bool{"v4": false, "v6": true} {
		list := visitors(1<<8, v6)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 1) & (len(list) - 1)
				l.Locate(list[i].Addr())
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	c := builtin(b).Classify(europe())
	for name, v6 := range map[string]bool{"v4": false, "v6": true} {
		list := visitors(1<<8, v6)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 1) & (len(list) - 1)
				c.Find(list[i])
			}
		})
	}
}

func BenchmarkBuiltin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		builtin(b)
	}
}

func BenchmarkClassify(b *testing.B) {
	l := builtin(b)
	b.ReportAllocs()
	for b.Loop() {
		l.Classify(europe())
	}
}
