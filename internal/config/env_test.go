package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

// small is a configuration without mistakes or warnings.
const small = `
zones:
  - {name: example.test, ns: [ns1.example.net, ns2.example.org]}
backends:
  - {name: a, addresses: [192.0.2.1], probe: {kind: tcp, address: "192.0.2.1:80"}}
  - {name: b, addresses: [192.0.2.2], probe: {kind: tcp, address: "192.0.2.2:80"}}
pools:
  - {name: all, members: [{backend: a, weight: 70}, {backend: b, weight: 30}]}
hosts:
  - {name: cdn.example.test, pools: [all]}
admin:
  listen: 127.0.0.1:9000
`

// load loads small with an environment and flags.
func load(t *testing.T, env []string, flags map[string]any) (*config.Config, string, string) {
	t.Helper()
	cfg, report, err := config.Load(config.Options{
		Data: []byte(small), Name: "small.yaml", Env: env, Overrides: flags,
		Reserved: []string{"POINTSMAN_ADMIN_LISTEN"},
	})
	message := ""
	if err != nil {
		message = err.Error()
	}
	return cfg, message, lines(report.Warnings)
}

func lines(findings []config.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func TestEnvironmentWinsOverFileAndFlagsOverBoth(t *testing.T) {
	for _, c := range []struct {
		env   []string
		flags map[string]any
		want  string
	}{
		{nil, nil, "127.0.0.1:9000"},
		{[]string{"POINTSMAN_ADMIN__LISTEN=127.0.0.1:9001"}, nil, "127.0.0.1:9001"},
		{nil, map[string]any{"admin.listen": "127.0.0.1:9002"}, "127.0.0.1:9002"},
		{
			[]string{"POINTSMAN_ADMIN__LISTEN=127.0.0.1:9001"},
			map[string]any{"admin.listen": "127.0.0.1:9002"}, "127.0.0.1:9002",
		},
	} {
		cfg, message, warnings := load(t, c.env, c.flags)
		if cfg == nil || warnings != "" {
			t.Fatal(message, warnings)
		}
		if cfg.Admin.Listen != c.want {
			t.Errorf("%v %v: admin.listen is %s, want %s", c.env, c.flags, cfg.Admin.Listen,
				c.want)
		}
	}
}

func TestVariablesAndFlagsHaveTheTypeOfTheirKey(t *testing.T) {
	cfg, message, _ := load(t, []string{
		"POINTSMAN_DNS__LISTEN=127.0.0.1:5301, [::1]:5301",
		"POINTSMAN_PROBING__RISE=5",
		"POINTSMAN_PURGE__VERIFY=false",
		"POINTSMAN_EDGE__MEMORY=2GiB",
		"POINTSMAN_POOLS__0__MEMBERS__1__WEIGHT=0",
		"POINTSMAN_BACKENDS__2__NAME=c",
		"POINTSMAN_BACKENDS__2__ADDRESSES=192.0.2.3,2001:db8::3",
		"POINTSMAN_BACKENDS__2__PROBE__KIND=tcp",
		"POINTSMAN_BACKENDS__2__PROBE__ADDRESS=192.0.2.3:80",
		"UNRELATED=1", "POINTSMAN_ADMIN_LISTEN=reserved",
	}, map[string]any{
		"probing.fall": 7, "purge.deadline": 2 * time.Hour, "log.level": "debug",
		"roles": []string{"dns", "probe"}, "hosts[0].ttl": "40s", "hosts.0.ramp": "0s",
		"edge.memory": config.Bytes(1 << 30), "zones[0].ns[1]": "ns9.example.org",
		"purge.verify": true, "store.redis.address": "192.0.2.9:6379", "store.kind": "redis",
	})
	if cfg == nil {
		t.Fatal(message)
	}
	got := fmt.Sprintln(cfg.DNS.Listen, cfg.Probing.Rise, cfg.Probing.Fall, cfg.Purge.Verify,
		cfg.Purge.Deadline, cfg.Edge.Memory, cfg.Pools[0].Members, cfg.Backends[2].Addresses,
		cfg.Backends[2].Probe.Rise, cfg.Roles, cfg.Hosts[0].TTL, cfg.Hosts[0].Ramp,
		cfg.Zones[0].NS, cfg.Log.Level, cfg.Store.Redis.Address, cfg.Store.Redis.Prefix)
	want := "[127.0.0.1:5301 [::1]:5301] 5 7 true 2h0m0s 1GiB [{a  70} {b  0}] " +
		"[192.0.2.3 2001:db8::3] 5 [dns probe] 40s 0s [ns1.example.net ns9.example.org] debug" +
		" 192.0.2.9:6379 pointsman/\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMistakesOutsideTheFileNameTheVariableOrFlag(t *testing.T) {
	cases := []struct {
		env   string
		flags map[string]any
		want  string
	}{
		{"POINTSMAN_ADMIN__LISTN=x", nil,
			"POINTSMAN_ADMIN__LISTN: admin.listn: unknown key, did you mean listen?"},
		{"POINTSMAN_ADMN__LISTEN=x", nil,
			"POINTSMAN_ADMN__LISTEN: admn: unknown key, did you mean admin?"},
		{"POINTSMAN_DNS_LISTEN=x", nil, "POINTSMAN_DNS_LISTEN: is no key of the " +
			"configuration, did you mean POINTSMAN_DNS__LISTEN?"},
		{"POINTSMAN_ADMIN__LISTEN=x", nil, `POINTSMAN_ADMIN__LISTEN: admin.listen: "x" is not ` +
			"address:port, as in 127.0.0.1:5300 or [::]:53"},
		{"POINTSMAN_ADMIN__LISTEN=", nil, "POINTSMAN_ADMIN__LISTEN: admin.listen: is empty"},
		{"POINTSMAN_ADMIN__LISTEN=0.0.0.0:1", nil, `POINTSMAN_ADMIN__LISTEN: admin.listen: ` +
			`"0.0.0.0:1" is not loopback: admin.tls is needed` + "\n" +
			`POINTSMAN_ADMIN__LISTEN: admin.listen: "0.0.0.0:1" is not loopback: admin.tokens ` +
			"are needed"},
		{"POINTSMAN_HOSTS__0__POOLS=al", nil, `POINTSMAN_HOSTS__0__POOLS: hosts[0].pools[0]: ` +
			`"al" is not one of pools, did you mean all?`},
		{"POINTSMAN_DNS__LISTEN= ", nil, "POINTSMAN_DNS__LISTEN: dns.listen: is empty"},
		{"POINTSMAN_ADMIN=x", nil,
			"POINTSMAN_ADMIN: admin: is a section: set a key of it, such as listen"},
		{"POINTSMAN_ZONES=x", nil, "POINTSMAN_ZONES: zones: is a list of sections: set a key of " +
			"one by its index"},
		{"POINTSMAN_ZONES__X__NAME=x", nil, `POINTSMAN_ZONES__X__NAME: zones: "x" is not an ` +
			"index: a list's elements are 0, 1, 2 …"},
		{"POINTSMAN_HOSTS__3__TTL=1s", nil,
			"POINTSMAN_HOSTS__3__TTL: hosts[3].ttl: leaves a gap: the list has 1 elements"},
		{"POINTSMAN_NODE__NAME=x", nil,
			"POINTSMAN_NODE__NAME: node: is one value and has no keys below it"},
		{"POINTSMAN_PROVIDERS__0__TOKEN=hunter2", nil, "POINTSMAN_PROVIDERS__0__TOKEN: " +
			"providers[0].token: secrets come by token_file or token_env, never in the file"},
		{"POINTSMAN_HOSTS__0__TTL=20", nil, "POINTSMAN_HOSTS__0__TTL: hosts[0].ttl: a duration " +
			"needs a unit: say 20s, or 500ms, 20s, 5m, 24h"},
		{"POINTSMAN_HOSTS__1__TTL=20s", nil,
			"POINTSMAN_HOSTS__1__TTL: hosts[1].name: is missing\n" +
				"POINTSMAN_HOSTS__1__TTL: hosts[1].pools: is missing: at least one is needed"},
		{"", map[string]any{"log.levle": "x"},
			"flag log.levle: log.levle: unknown key, did you mean level?"},
		{"", map[string]any{"log.level": "debgu"}, `flag log.level: log.level: "debgu" is not ` +
			"one of debug, info, warn, error, did you mean debug?"},
		{"", map[string]any{"log.level": []string{"debug"}},
			"flag log.level: log.level: must be text, not a list"},
		{"", map[string]any{"log.level": 1.5},
			"flag log.level: log.level: must be text, not a float64"},
		{"", map[string]any{"hosts": []string{"a"}}, "flag hosts: hosts: is a list of sections: " +
			"set a key of one by its index"},
	}
	for _, c := range cases {
		cfg, message, _ := load(t, []string{c.env}, c.flags)
		if cfg != nil {
			t.Errorf("%s %v is not refused", c.env, c.flags)
		}
		if diff := cmp.Diff(c.want, message); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", c.env, c.flags, diff)
		}
	}
}

func TestVariablesOfOthersArePassedOver(t *testing.T) {
	_, message, warnings := load(t, []string{
		"POINTSMAN_SERVICE_HOST=10.0.0.1", "POINTSMAN_PORT=tcp://10.0.0.1:53",
		"POINTSMAN_PORT_53_UDP_ADDR=10.0.0.1", "POINTSMAN_SERVICE_PORT_DNS=53",
		"POINTSMAN_TOKEN_FILE=/x", "POINTSMAN_ADMIN_URL=http://127.0.0.1:1",
	}, nil)
	if message+warnings != "" {
		t.Error(message, warnings)
	}
	_, message, warnings = load(t, []string{"POINTSMAN_ROELS=dns"}, nil)
	want := "POINTSMAN_ROELS: is no key of the configuration, did you mean POINTSMAN_ROLES?\n"
	if diff := cmp.Diff(want, message+warnings); diff != "" {
		t.Errorf("a near miss (-want +got):\n%s", diff)
	}
}

func TestAVariableThatTheFileNamesForASecretIsNoKey(t *testing.T) {
	data := small + "providers: [{name: p, kind: edge, nodes: ['http://127.0.0.1:1'], " +
		"token_env: POINTSMAN_DNS_LISTEN}]\n"
	cfg, _, err := config.Load(config.Options{
		Data: []byte(data), Env: []string{"POINTSMAN_DNS_LISTEN=first", "POINTSMAN_DNS_LISTEN=x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Providers[0].Token.Reveal(); got != "x" {
		t.Errorf("the token is %q, want the last value of the variable", got)
	}
}
