package steering_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"pointsman/probes/health"
	"pointsman/steering"
)

const host = "cdn.example.test."

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// spec has three CDNs at 70/20/10, then an edge, then an origin.
func spec(edit ...func(*steering.Spec)) *steering.Spec {
	addr := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	s := &steering.Spec{
		Backends: []steering.Backend{
			{Name: "a", CNAME: "a.cdn.test."},
			{Name: "b", CNAME: "b.cdn.test."},
			{Name: "c", CNAME: "c.cdn.test."},
			{Name: "edge", Addresses: []netip.Addr{
				netip.MustParseAddr("192.0.2.44"), netip.MustParseAddr("2001:db8::44"),
			}},
			{Name: "origin", Addresses: addr("192.0.2.80")},
		},
		Pools: []steering.Pool{
			{Name: "cdns", Members: []steering.Member{
				{Backend: "a", Weight: 70}, {Backend: "b", Weight: 20}, {Backend: "c", Weight: 10},
			}},
			{Name: "edge", Members: []steering.Member{{Backend: "edge", Weight: 1}}},
			{Name: "origin", Members: []steering.Member{{Backend: "origin", Weight: 1}}},
		},
		Hosts: []steering.Host{{
			Name: host, TTL: 20 * time.Second, Pools: []string{"cdns", "edge", "origin"},
			Stickiness: steering.Spread, Ramp: 30 * time.Second,
		}},
	}
	for _, f := range edit {
		f(s)
	}
	return s
}

func sticky(s *steering.Spec) { s.Hosts[0].Stickiness = steering.Sticky }

// view holds all backends of spec as healthy but for those named down.
func view(version uint64, down ...string) *health.View {
	v := &health.View{Version: version, At: start, Backends: map[string]health.Health{}}
	for _, name := range []string{"a", "b", "c", "edge", "origin"} {
		v.Backends[name] = health.Health{
			Backend: name, State: health.Healthy, Since: start.Add(-time.Hour),
			Reason: "3 successes in a row", LastSample: start.Add(-time.Second),
		}
	}
	for _, name := range down {
		h := v.Backends[name]
		h.State, h.Reason = health.Unhealthy, "3 failures in a row"
		v.Backends[name] = h
	}
	return v
}

func override(kind steering.OverrideKind, backend string) steering.Override {
	return steering.Override{
		ID: "ov-" + string(kind) + "-" + backend, Kind: kind, Backend: backend,
		Reason: "test", Actor: "kim", Created: start.Add(-time.Minute),
		Expires: start.Add(time.Hour),
	}
}

func compile(t testing.TB, in steering.Inputs) *steering.Table {
	t.Helper()
	if in.Now.IsZero() {
		in.Now = start
	}
	if in.Version == 0 {
		in.Version = 1
	}
	table, err := steering.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// split is the shares of a host as text, those at 0 left out.
func split(table *steering.Table, name string) string { return shareText(table.Shares(name)) }

func shareText(list []steering.Share) string {
	text := ""
	for _, s := range list {
		if s.Share > 0 {
			text += fmt.Sprintf(" %s:%.4g", s.Backend, math.Round(s.Share*1e4)/1e2)
		}
	}
	if text == "" {
		return ""
	}
	return text[1:]
}

// resolver is the n-th of many client addresses.
func resolver(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{
		byte(n>>16) + 11, byte(n >> 8), byte(n), 53,
	}), 32)
}
