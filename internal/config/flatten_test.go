package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

const flattenConfig = `
zones:
  - name: example.test
    ttl: 5m
    ns: [ns1.example.net, ns2.example.org]
    records:
      - {name: www, type: alias, ttl: 24h, data: Site.CDN.test.}
      - {name: "*.x", type: ALIAS, data: other.test}
      - {name: www, type: TXT, data: beside}
backends:
  - {name: c, cname: c.cdn.test, https: {}, probe: {kind: tcp, address: "192.0.2.1:1"}}
  - {name: d, cname: d.cdn.test, probe: {kind: tcp, address: "192.0.2.1:1"}}
  - {name: a, addresses: [192.0.2.1], probe: {kind: tcp, address: "192.0.2.1:1"}}
pools:
  - {name: names, members: [{backend: c}, {backend: d}]}
  - {name: mixed, members: [{backend: d}, {backend: a}]}
  - {name: plain, members: [{backend: a}]}
hosts:
  - {name: keep.example.test, flatten: always, ttl: 5s, pools: [names]}
  - %s
`

func TestAHostIsFlattenedWhereACNAMECanNotStandOrWouldSkewTheShares(t *testing.T) {
	for host, want := range map[string]bool{
		"{name: example.test, pools: [names]}":                                                       true,
		"{name: example.test, pools: [plain]}":                                                       false,
		"{name: example.test, pools: [plain], flatten: never}":                                       false,
		"{name: h.example.test, pools: [names]}":                                                     false,
		"{name: h.example.test, pools: [names, plain]}":                                              false, // one pool answers at a time
		"{name: h.example.test, pools: [mixed]}":                                                     true,
		"{name: h.example.test, pools: [plain, mixed]}":                                              true,
		"{name: h.example.test, pools: [names], flatten: always}":                                    true,
		"{name: h.example.test, pools: [names], flatten: never}":                                     false,
		"{name: h.example.test, pools: [plain], flatten: always}":                                    false, // there is no name
		"{name: h.example.test, pools: [plain], flatten: auto}":                                      false,
		"{name: h.example.test, pools: [plain, names], places: [{countries: [DE], pools: [mixed]}]}": true,
	} {
		cfg, report, err := config.Load(config.Options{Data: fmt.Appendf(nil, flattenConfig, host), Name: "x"})
		if err != nil {
			t.Fatalf("%s: %v %v", host, err, report)
		}
		if got := cfg.Hosts[1].Flattened; got != want {
			t.Errorf("%s: flattened is %v", host, got)
		}
	}
}

func TestALIASRecordsHaveFullNamesAndATTLOfAnHourAtMost(t *testing.T) {
	cfg, report, err := config.Load(config.Options{Name: "x",
		Data: fmt.Appendf(nil, flattenConfig, "{name: h.example.test, pools: [names]}")})
	if err != nil {
		t.Fatal(err, report)
	}
	want := []config.Alias{
		{Path: "zones[0].records[0]", Name: "www.example.test", Target: "site.cdn.test", TTL: time.Hour},
		{Path: "zones[0].records[1]", Name: "*.x.example.test", Target: "other.test", TTL: 5 * time.Minute},
	}
	if diff := cmp.Diff(want, cfg.Aliases()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if cfg.Zones[0].Records[2].IsAlias() || !cfg.Zones[0].Records[0].IsAlias() {
		t.Error("which records are ALIAS is mistaken")
	}
}
