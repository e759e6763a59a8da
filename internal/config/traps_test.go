package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

func TestKnownTrapsAreWarnedOfWithTheirPlace(t *testing.T) {
	data := string(must(t, "testdata/bad/typo-node.yaml"))
	base := strings.Replace(data, "nod: fra-1", "node: fra-1", 1)
	cases := []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{
			"a CNAME and an address in one pool", "{backend: cloudflare, weight: 30}",
			"{backend: cloudflare, weight: 30}\n      - {backend: origin}",
			"base.yaml:60:5: hosts[0].pools: pool cdns mixes CNAME and address backends, so that " +
				"the host answers with the addresses behind the CNAMEs, as this node's resolvers " +
				"see them: say flatten: always if that is meant, or part the pool\n",
		},
		{
			"a TTL under the probing interval", "interval: 1s", "interval: 1m",
			"base.yaml:58:10: hosts[0].ttl: 20s is under the probing interval of 1m0s: resolvers " +
				"ask more often than anything can have changed\n",
		},
		{
			"no last resort", "pools: [cdns, edge, origin]", "pools: [cdns]",
			`base.yaml:52:5: pools[1]: "edge" is used by no host` + "\n" +
				`base.yaml:54:5: pools[2]: "origin" is used by no host` + "\n" +
				"base.yaml:59:5: hosts[0].pools: no last resort: every pool holds commercial CDNs " +
				"alone; add a pool with your own edge or the origin at the end\n",
		},
		{
			"weight 0 in a whole pool", "members: [{backend: edge, weight: 1}]",
			"members: [{backend: edge, weight: 0}]",
			"base.yaml:53:5: pools[1].members: every weight is 0: the pool is always passed over\n",
		},
		{
			"a CDN that hosts the zone's nameserver",
			"cname: cdn.example.test.cdn.cloudflare.test", "cname: cdn.example.cdn.cloudflare.net",
			"base.yaml:16:10: zones[0].ns[0]: amy.ns.cloudflare.com belongs to the same company as " +
				"backend cloudflare: an outage of that CDN could take the DNS with it\n",
		},
		{
			"nameserver and backend in one domain of nobody we know",
			"cname: site.global.fastly.test", "cname: www.hosting.co.uk",
			"base.yaml:16:33: zones[0].ns[1]: ns.hosting.co.uk belongs to the same company as " +
				"backend fastly: an outage of that CDN could take the DNS with it\n",
		},
		{
			"a single nameserver", "ns: [amy.ns.cloudflare.com, ns.hosting.co.uk]",
			"ns: [ns1.example.test]",
			"base.yaml:16:5: zones[0].ns: a single nameserver: when it is gone, so is the zone " +
				"(RFC 1034 §4.1 asks for two)\n",
		},
		{
			"a probe of a CNAME backend without a host", "      host: cdn.example.test\n", "",
			"base.yaml:32:5: backends[0].probe: has no host: the CDN is asked for " +
				"site.global.fastly.test, which may work while your own host name does not\n",
		},
		{
			"an unused provider", "    provider: fastly\n", "",
			`base.yaml:62:5: providers[0]: "fastly" is used by no backend` + "\n",
		},
		{
			"an unused backend", "members: [{backend: origin, weight: 1}]",
			"members: [{backend: edge, weight: 1}]",
			`base.yaml:44:5: backends[3]: "origin" is used by no pool` + "\n",
		},
		{
			"an edge without sites",
			"  sites:\n    - hosts: [cdn.example.test]\n      origin: http://192.0.2.80\n" +
				"      stale_if_error: 1h\n", "",
			"base.yaml:75:1: edge: the node has the role edge and no sites: its edge serves " +
				"nothing\n",
		},
	}
	base = strings.Replace(base, "ns: [ns1.example.test, ns2.example.test]",
		"ns: [amy.ns.cloudflare.com, ns.hosting.co.uk]", 1)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(base, c.old) {
				t.Fatalf("%q is not in the base", c.old)
			}
			_, report, err := config.Load(config.Options{
				Data: []byte(strings.Replace(base, c.old, c.new, 1)), Name: "base.yaml",
				Env: corpusEnv(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, lines(report.Warnings)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoSteeredHostIsWarnedOf(t *testing.T) {
	data := "zones: [{name: example.test, ns: [ns1.example.net, ns2.example.org]}]\n"
	_, report, err := config.Load(config.Options{Data: []byte(data), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := "x:1:1: hosts: there is no steered host\n"
	if diff := cmp.Diff(want, lines(report.Warnings)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATokenThatCanBeGuessedIsWarnedOf(t *testing.T) {
	const data = "roles: [admin]\nadmin: {tokens: [{name: ci, token_env: T, scopes: [read]}]}\n"
	for token, want := range map[string]string{
		"short": "x:2:18: admin.tokens[0]: the token has 5 characters and can be guessed: " +
			"take 20 random ones or more\n",
		"long-enough-to-be-hard": "",
	} {
		_, report, err := config.Load(config.Options{Data: []byte(data), Name: "x",
			Env: []string{"T=" + token}})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(lines(report.Warnings), "x:1:1: hosts: there is no steered host\n", "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", token, diff)
		}
	}
}
