package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

// policyBase has a tree of pools over a CDN by name and one by addresses.
const policyBase = `zones: [{name: example.test, ns: [ns1.example.net, ns2.example.org]}]
geo: {lists: [{name: office, prefixes: [203.0.113.0/24]}]}
backends:
  - name: a
    cname: a.cdn.test
    probe: {url: "https://a.cdn.test/", host: cdn.example.test}
  - name: b
    addresses: [192.0.2.1]
    probe: {url: "http://192.0.2.1/"}
  - name: origin
    addresses: [192.0.2.2]
    probe: {kind: tcp, address: "192.0.2.2:443"}
pools:
  - name: top
    choose: failover
    members: [{pool: names}, {pool: plain}]
  - {name: names, members: [{backend: a}]}
  - {name: plain, members: [{backend: b}]}
  - {name: last, members: [{backend: origin}]}
hosts: [{name: cdn.example.test, pools: [top, last]}]
`

func loadPolicy(t *testing.T, old, with string) (*config.Config, *config.Report) {
	t.Helper()
	if !strings.Contains(policyBase, old) {
		t.Fatalf("%q is not in the base", old)
	}
	c, report, err := config.Load(config.Options{Name: "x",
		Data: []byte(strings.Replace(policyBase, old, with, 1))})
	if err != nil {
		t.Fatal(err)
	}
	return c, report
}

func TestAFullPolicyIsRead(t *testing.T) {
	c, report := loadPolicy(t, "  - {name: plain, members: [{backend: b}]}\n",
		"  - {name: plain, choose: cost, within: {percent: 15}, members: [{backend: b, weight: 3}]}\n")
	if w := lines(report.Warnings); strings.Count(w, "\n") != 1 { // a list that nothing uses
		t.Errorf("warnings:\n%s", w)
	}
	want := []config.Pool{
		{Name: "top", Choose: config.ChooseFailover, Members: []config.Member{
			{Pool: "names", Weight: 1}, {Pool: "plain", Weight: 1}}},
		{Name: "names", Choose: config.ChooseWeight,
			Members: []config.Member{{Backend: "a", Weight: 1}}},
		{Name: "plain", Choose: config.ChooseCost, Within: config.Within{Percent: 15},
			Members: []config.Member{{Backend: "b", Weight: 3}}},
		{Name: "last", Choose: config.ChooseWeight,
			Members: []config.Member{{Backend: "origin", Weight: 1}}},
	}
	if d := cmp.Diff(want, c.Pools); d != "" {
		t.Errorf("pools (-want +got):\n%s", d)
	}
	c, _ = loadPolicy(t, "    addresses: [192.0.2.1]\n", "    addresses: [192.0.2.1]\n"+
		"    cost: 0.02\n    capacity: 500\n    deny: {countries: [at], lists: [office]}\n")
	b := c.Backends[1]
	if b.Cost != 20_000 || b.Capacity != 500 || b.Allow != nil {
		t.Errorf("cost %d, capacity %d, allow %v", b.Cost, b.Capacity, b.Allow)
	}
	if d := cmp.Diff(&config.Audience{Countries: []string{"AT"}, Lists: []string{"office"}},
		b.Deny); d != "" {
		t.Errorf("deny (-want +got):\n%s", d)
	}
}

func TestTrapsOfPoliciesAreWarnedOf(t *testing.T) {
	const (
		unused = `x:2:15: geo.lists[0]: "office" is used by no place or backend` + "\n"
		top    = "    choose: failover\n    members: [{pool: names}, {pool: plain}]\n"
		b      = "    addresses: [192.0.2.1]\n"
		host   = "pools: [top, last]}"
	)
	for _, c := range []struct{ about, old, new, want string }{
		{"one of two at a time is no mix", top, top, unused},
		{"both at a time is one", top, "    members: [{pool: names}, {pool: plain}]\n",
			unused + "x:19:34: hosts[0].pools: pool top mixes CNAME and address backends, so that the " +
				"host answers with the addresses behind the CNAMEs, as this node's resolvers see " +
				"them: say flatten: always if that is meant, or part the pool\n"},
		{"a capacity without a load", b, b + "    capacity: 5\n",
			unused + "x:9:15: backends[1].capacity: no host that uses the backend has a load: nothing " +
				"is bounded by the capacity\n"},
		{"allow and deny have the same country", b,
			b + "    allow: {countries: [DE, AT]}\n    deny: {countries: [DE]}\n",
			unused + "x:10:12: backends[1].deny.countries: DE stands in allow too: deny wins\n"},
		{"deny has all of an allowed prefix", b,
			b + "    allow: {prefixes: [203.0.113.0/25]}\n    deny: {lists: [office]}\n",
			"x:10:5: backends[1].deny: 203.0.113.0/25 lies within 203.0.113.0/24, and allow has it: " +
				"deny wins\n"},
		{"an exception to what is allowed is fine", b,
			b + "    allow: {countries: [DE]}\n    deny: {lists: [office]}\n", ""},
		{"latencies of two kinds, without a tolerance", top,
			"    choose: latency\n    members: [{pool: plain}, {pool: last}]\n",
			unused + `x:17:5: pools[1]: "names" is used by no host` + "\n" +
				"x:15:13: pools[0].choose: backend b is probed by http and origin by tcp: a " +
				"connection alone always takes less time than a request, so their latencies say " +
				"little together\n" +
				"x:15:13: pools[0].choose: without within only the very fastest answers, and small " +
				"changes move all clients: say within: {percent: 20, span: 10ms}, for example\n"},
		{"a weight of 0 on a branch", "{pool: names}, {pool: plain}]",
			"{pool: names, weight: 0}, {pool: plain, weight: 0}]",
			unused + "x:16:5: pools[0].members: every weight is 0: the pool is always passed over\n"},
	} {
		t.Run(c.about, func(t *testing.T) {
			_, report := loadPolicy(t, c.old, c.new)
			want, got := strings.Split(c.want, "\n"), strings.Split(lines(report.Warnings), "\n")
			slices.Sort(want)
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestAHostWithoutALoadBesideOneWithIsNamed(t *testing.T) {
	c := strings.Replace(policyBase, "    addresses: [192.0.2.1]\n",
		"    addresses: [192.0.2.1]\n    capacity: 5\n", 1)
	c = strings.Replace(c, "hosts: [{name: cdn.example.test, pools: [top, last]}]",
		"hosts:\n  - {name: cdn.example.test, pools: [top, last], load: 9, flatten: always}\n"+
			"  - {name: img.example.test, pools: [plain]}", 1)
	_, report, err := config.Load(config.Options{Name: "x", Data: []byte(c)})
	if err != nil {
		t.Fatal(err)
	}
	if want := "x:9:15: backends[1].capacity: host img.example.test uses the backend too and has no " +
		"load: its requests come on top of what the capacity allows\n"; !strings.Contains(
		lines(report.Warnings), want) {
		t.Errorf("warnings are\n%swant\n%s", lines(report.Warnings), want)
	}
}

func TestALoopOfCNAMEsIsFoundThroughTrees(t *testing.T) {
	_, _, err := config.Load(config.Options{Name: "x",
		Data: []byte(strings.Replace(policyBase, "cname: a.cdn.test", "cname: cdn.example.test", 1))})
	if err == nil || !strings.Contains(err.Error(), "a CNAME loop") {
		t.Errorf("error is %v", err)
	}
}

func TestPricesAreReadAndWrittenAlike(t *testing.T) {
	for text, want := range map[string]config.Price{
		"0": 0, "0.02": 20_000, "12": 12_000_000, "1.5": 1_500_000, "0.000001": 1,
		"999999.999999": 999_999_999_999,
	} {
		p, err := config.ParsePrice(text)
		if err != nil || p != want || p.String() != text {
			t.Errorf("%s: %d, %s, %v", text, p, p, err)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5x", "-1", "+1", "1e3", "1_000", "0x1", "0.-1",
		"9999999999999", "0.0000001", " 1"} {
		if p, err := config.ParsePrice(text); err == nil {
			t.Errorf("%q was taken as %s", text, p)
		}
	}
}
