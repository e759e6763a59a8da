package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

func TestAFindingOfAnotherPackageStandsAtTheNearestPlace(t *testing.T) {
	_, report, err := config.Load(config.Options{
		Data: []byte(small), Name: "small.yaml",
		Env:       []string{"POINTSMAN_DNS__LISTEN=127.0.0.1:5301"},
		Overrides: map[string]any{"backends[1].cname": "b.example.net"},
	})
	if err == nil {
		t.Fatal("a backend with cname and addresses was taken")
	}
	for path, want := range map[string]string{
		"":                                "small.yaml:1:1: m",
		"nothing.like[3].that":            "small.yaml:1:1: nothing.like[3].that: m",
		"zones":                           "small.yaml:2:1: zones: m",
		"zones[0]":                        "small.yaml:3:5: zones[0]: m",
		"zones[0].name":                   "small.yaml:3:12: zones[0].name: m",
		"zones[0].records[3].data":        "small.yaml:3:5: zones[0].records[3].data: m",
		"pools[0].members[1].weight":      "small.yaml:8:74: pools[0].members[1].weight: m",
		"hosts[0].ttl":                    "small.yaml:10:5: hosts[0].ttl: m",
		"dns.listen[0]":                   "POINTSMAN_DNS__LISTEN: dns.listen[0]: m",
		"backends[1].cname":               "flag backends[1].cname: backends[1].cname: m",
		"backends[1].probe.expect.status": "small.yaml:6:39: backends[1].probe.expect.status: m",
	} {
		got := report.Source.Finding(path, "m").String()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if p, ok := report.Source.Locate("admin.listen"); !ok || p != (config.Position{12, 11}) {
		t.Errorf("admin.listen is at %v, %t", p, ok)
	}
	for _, path := range []string{"dns.listen", "purge", "backends[1].cname", "backends[9]"} {
		if p, ok := report.Source.Locate(path); ok {
			t.Errorf("%s, which is not from the file, is at %v", path, p)
		}
	}
}

func TestAllMistakesComeAtOnceInTheOrderOfTheFile(t *testing.T) {
	data := "nod: a\nlog: {level: x}\nroles: [dns, zzz]\nzones: []\nhosts:\n  - ttl: 5\n"
	_, report, err := config.Load(config.Options{
		Data: []byte(data), Name: "f", Env: []string{"POINTSMAN_LOG__FORMAT=y"},
	})
	want := "f:1:1: nod: unknown key, did you mean node?\n" +
		"f:2:14: log.level: \"x\" is not one of debug, info, warn, error\n" +
		"f:3:14: roles[1]: \"zzz\" is not one of dns, probe, edge, admin\n" +
		"f:4:1: zones: is missing: a node with the role dns needs at least one\n" +
		"f:6:5: hosts[0].name: is missing\n" +
		"f:6:5: hosts[0].pools: is missing: at least one is needed\n" +
		"f:6:10: hosts[0].ttl: a duration needs a unit: say 5s, or 500ms, 20s, 5m, 24h\n" +
		"POINTSMAN_LOG__FORMAT: log.format: \"y\" is not one of text, json"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(report.Mistakes) != 8 || report.Omitted != 0 {
		t.Errorf("%d mistakes, %d omitted", len(report.Mistakes), report.Omitted)
	}
}

func TestAReportOfManyMistakesIsCut(t *testing.T) {
	var data strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&data, "kw%d: %d\n", i, i)
	}
	start := time.Now()
	_, report, err := config.Load(config.Options{Data: []byte(data.String()), Name: "f"})
	took := time.Since(start)
	t.Logf("%d bytes took %v", data.Len(), took)
	if took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if len(report.Mistakes) != 200 || report.Omitted != 59_800+1 {
		t.Errorf("%d mistakes, %d omitted", len(report.Mistakes), report.Omitted)
	}
	if !strings.HasSuffix(err.Error(), "\n… and 59801 more mistakes") {
		t.Error(err.Error()[len(err.Error())-80:])
	}
}

func TestAConfigOfTheLargestSizeLoads(t *testing.T) {
	var backends, members, hosts strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&backends, "  - {name: b%d, cname: b%d.example.net, probe: {kind: tcp, "+
			"address: \"b%d.example.net:443\", interval: 1h}}\n", i, i, i)
		fmt.Fprintf(&members, "      - {backend: b%d, weight: %d}\n", i, i+1)
		fmt.Fprintf(&hosts, "  - {name: h%d.example.test, pools: [p], ttl: 1h}\n", i)
	}
	data := "zones: [{name: example.test, ns: [ns1.example.net, ns2.example.org]}]\nbackends:\n" +
		backends.String() + "pools:\n  - name: p\n    members:\n" + members.String() +
		"hosts:\n" + hosts.String()
	start := time.Now()
	cfg, _, err := config.Load(config.Options{Data: []byte(data), Name: "f"})
	took := time.Since(start)
	t.Logf("%d bytes took %v", len(data), took)
	if err != nil || len(cfg.Hosts) != 2000 || took > 10*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
