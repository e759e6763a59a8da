package cluster_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pointsman/test/load/attack"
)

const floodConfig = `node: flooded
roles: [dns, admin]
state_dir: %s
dns: {listen: ["%s"]}
admin: {listen: "%s"}
zones:
  - name: example.test
    ns: [ns1.example.test, ns2.example.test]
    dnssec: {}
    records:
      - {name: ns1, type: A, data: 192.0.2.1}
      - {name: ns2, type: A, data: 192.0.2.2}
      - {name: h0, type: A, data: 192.0.2.3}
      - {name: alias, type: CNAME, data: h0.example.test}
backends:
  - {name: a, cname: edge.cdn-a.test, probe: {kind: tcp, address: "127.0.0.1:9"}}
pools: [{name: cdns, members: [{backend: a}]}]
hosts: [{name: cdn.example.test, ttl: 30s, pools: [cdns]}]
`

// resident reads how many bytes of memory a process has.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(raw), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestAFloodTakesNothingFromAClientThatBehaves floods a node in each way. A late answer counts:
// how late says more of the machine than of the node. serve fails the test for a panic.
func TestAFloodTakesNothingFromAClientThatBehaves(t *testing.T) {
	l := newLane()
	port := l.port(t)
	dir, admin := t.TempDir(), l.addr(2, port)
	config := filepath.Join(dir, "pointsman.yaml")
	text := fmt.Sprintf(floodConfig, filepath.Join(dir, "state"), l.addr(1, port), admin)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := serve(t, "flooded", config, admin)
	n.ready(t)
	before := resident(t, n.cmd.Process.Pid)
	for i, kind := range attack.Kinds() {
		r, err := attack.Run(t.Context(), attack.Config{
			Server: netip.MustParseAddrPort(l.addr(1, port)), Kind: kind, Zone: zone,
			Names: []string{"h0." + zone, "alias." + zone, steered},
			For:   1500 * time.Millisecond, Rate: 200, Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d packets, %.2f octets out for one in; %d queries, %.2f %% at the first try, "+
			"slowest %v", kind, r.Sent, r.Amplification(), r.Asked, 100*r.FirstTry(), r.Slowest)
		if r.FirstTry() < 0.98 || r.Wrong > 0 || r.Asked < 20 {
			t.Errorf("%s: %+v", kind, r)
		}
		if r.Got < 1000 {
			t.Errorf("%s: a flood of %d answers is none", kind, r.Got)
		}
	}
	if grown := resident(t, n.cmd.Process.Pid) - before; grown > 100<<20 {
		t.Errorf("the node grew by %d MiB", grown>>20)
	}
	if s, ok := n.status(); !ok || !s.Ready || strings.Contains(n.out.String(), "panic") {
		t.Errorf("the node is not what it was: %+v", s)
	}
	n.stop(t, 20*time.Second)
}
