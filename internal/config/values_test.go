package config_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pointsman/internal/config"
)

func TestDefaultIsOnLoopbackAndComplete(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := config.Default()
	if got.Node == "" || got.Vantage != got.Node || len(host) == 0 {
		t.Errorf("node %q, vantage %q", got.Node, got.Vantage)
	}
	want := &config.Config{
		Node: got.Node, Vantage: got.Node, StateDir: "/var/lib/pointsman",
		Roles: []config.Role{
			config.RoleDNS, config.RoleProbe, config.RoleEdge, config.RoleAdmin,
		},
		Log:   config.Log{Level: "info", Format: "text"},
		Store: config.Store{Kind: "bolt"},
		DNS: config.DNS{Listen: []string{"127.0.0.1:5300"}, Coalesce: 200 * time.Microsecond,
			Cookies:       config.Cookies{Enabled: true, Lifetime: 24 * time.Hour},
			Amplification: config.Amplification{Unsigned: 4, Signed: 12},
			RateLimit: config.RateLimit{Mode: "enforce", Answers: 200, NXDomain: 200, NoData: 400,
				Errors: 100, All: 1000, Slip: 2, IPv4Prefix: 24, IPv6Prefix: 56,
				Exempt: []string{"127.0.0.0/8", "::1/128"}, Buckets: 65536},
			TCP:          config.TCP{Max: 1000, PerClient: 100, Idle: 10 * time.Second},
			MaxTransfers: 10},
		Probing: config.Probing{
			Interval: time.Second, Timeout: 2 * time.Second, Rise: 3, Fall: 3, Budget: 200,
		},
		Steering: config.Steering{Response: 64 << 10, OriginFactor: 1_500_000,
			Within: config.Within{Percent: 20, Span: 10 * time.Millisecond},
			Loop: config.Loop{Interval: 10 * time.Second, Slope: 4_000_000, Delay: 30 * time.Second,
				DeadBand: 10_000, Rate: 60_000, Floor: 20_000, Fresh: 2 * time.Minute,
				Hold: 10 * time.Minute, Decay: 10 * time.Minute}},
		Edge: config.Edge{Listen: []string{"127.0.0.1:8080"}, Memory: 256 << 20},
		Purge: config.Purge{
			Deadline: 24 * time.Hour, Verify: true, Durability: config.DurabilityLocal,
		},
		Admin: config.Admin{Listen: "127.0.0.1:8053"},
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestElementsTakeTheirDefaults(t *testing.T) {
	cfg, message, _ := load(t, nil, map[string]any{"probing.rise": "9"})
	if cfg == nil {
		t.Fatal(message)
	}
	want := config.Probe{
		Kind: "tcp", Address: "192.0.2.1:80", Method: "GET", Interval: time.Second,
		Timeout: 2 * time.Second, Rise: 9, Fall: 3,
	}
	if diff := cmp.Diff(want, cfg.Backends[0].Probe); diff != "" {
		t.Errorf("probe (-want +got):\n%s", diff)
	}
	host := config.Host{
		Name: "cdn.example.test", TTL: 20 * time.Second, TTLDegraded: 10 * time.Second,
		Pools: []string{"all"}, Stickiness: "spread", Ramp: 30 * time.Second, Flatten: "auto",
		Balance: "queries", LeastTTL: 5 * time.Second,
	}
	if diff := cmp.Diff(host, cfg.Hosts[0]); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
	soa := config.SOA{
		Mbox: "hostmaster.example.test", Refresh: time.Hour, Retry: 10 * time.Minute,
		Expire: 168 * time.Hour, NegativeTTL: 30 * time.Second,
	}
	if diff := cmp.Diff(soa, cfg.Zones[0].SOA); diff != "" {
		t.Errorf("soa (-want +got):\n%s", diff)
	}
}

func TestNamesAreNormalised(t *testing.T) {
	data := `
zones:
  - name: Example.TEST.
    ns: [ns1, NS2.example.org.]
    soa: {mbox: Host\.Master.example.test.}
    records:
      - {name: ns1, type: a, data: 192.0.2.1}
      - {name: mail.example.test, type: mx, data: 10 mx.example.org}
backends:
  - {name: A, cname: Cdn.Example.NET., probe: {url: "http://x/", host: CDN.example.test}}
  - {name: b, addresses: ["2001:DB8:0:0::1"], probe: {kind: tcp, address: "[::1]:80"}}
`
	cfg, _, err := config.Load(config.Options{Data: []byte(data), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	z := cfg.Zones[0]
	got := fmt.Sprintln(z.Name, z.NS, z.SOA.Mbox, z.Records[0].Type, z.Records[1].Type,
		cfg.Backends[0].CNAME, cfg.Backends[0].Probe.Host, cfg.Backends[1].Addresses)
	want := `example.test [ns1.example.test ns2.example.org] host\.master.example.test A MX ` +
		"cdn.example.net cdn.example.test [2001:db8::1]\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnchorsAndMergesAreFollowed(t *testing.T) {
	data := `
backends:
  - name: a
    addresses: &ips [192.0.2.1]
    probe: &p {kind: tcp, address: "192.0.2.1:80", rise: 5}
  - {name: b, addresses: *ips, probe: {<<: *p, rise: 6}}
  - {name: c, addresses: *ips, probe: {<<: [{fall: 8}, *p], interval: 4s}}
zones: [{name: example.test, ns: [a.example.org]}]
`
	cfg, _, err := config.Load(config.Options{Data: []byte(data), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	b, c := cfg.Backends[1].Probe, cfg.Backends[2].Probe
	got := fmt.Sprintln(b.Kind, b.Address, b.Rise, b.Fall, c.Rise, c.Fall, c.Interval)
	if diff := cmp.Diff("tcp 192.0.2.1:80 6 3 5 8 4s\n", got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRedisWithTLSOfTheSystemIsAnEmptySection(t *testing.T) {
	for section, want := range map[string]bool{"tls: {}": true, "username: u": false} {
		data := small + "store: {kind: redis, redis: {address: 'redis.example.net:6379', " +
			section + "}}\n"
		cfg, _, err := config.Load(config.Options{Data: []byte(data), Name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Store.Redis.TLS != nil; got != want {
			t.Errorf("%s: TLS is %t", section, got)
		}
	}
}

func TestSizesAreReadAndRendered(t *testing.T) {
	for in, want := range map[string]config.Bytes{
		"0B": 0, "1B": 1, "1kB": 1000, "1KiB": 1024, "256MiB": 256 << 20, "2 GiB": 2 << 30,
		"1TiB": 1 << 40, "3MB": 3e6, "8388607TiB": 8388607 << 40,
	} {
		if got, err := config.ParseBytes(in); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "B", "KiB", "1", "-1B", "1.5GiB", "1PiB", "8388608TiB", "1 2B", "0x1B", "１B",
	} {
		if got, err := config.ParseBytes(in); err == nil {
			t.Errorf("%q is taken as %d", in, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := config.Bytes(rapid.Int64Min(0).Draw(t, "bytes"))
		if got, err := config.ParseBytes(want.String()); err != nil || got != want {
			t.Fatalf("%d is rendered as %s and read as %d, %v", want, want, got, err)
		}
	})
}
