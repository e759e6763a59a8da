package nodes_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/admin/api"
	"pointsman/internal/store"
	"pointsman/internal/store/redisstore"
)

const plainZone = "  - {name: example.test, ns: [ns.example.net]}\n"

// prepareSigned is prepare for a node whose zone is signed in some mode.
func (f *fleet) prepareSigned(name, mode string, octet int) *node {
	f.t.Helper()
	n := f.prepare(name, octet)
	n.rewrite(plainZone, fmt.Sprintf("  - name: example.test\n    ns: [ns.example.net]\n"+
		"    dnssec: {mode: %s, keys: ksk-zsk, denial: nsec3}\n"+
		"    records:\n      - {name: www, type: A, data: 192.0.2.80}\n", mode))
	return n
}

// rewrite replaces a text in the node's config.
func (n *node) rewrite(old, next string) {
	n.t.Helper()
	text, err := os.ReadFile(n.config)
	if err == nil && !strings.Contains(string(text), old) {
		n.t.Fatalf("the config of %s has no %q", n.vantage, old)
	}
	if err == nil {
		err = os.WriteFile(n.config, []byte(strings.Replace(string(text), old, next, 1)), 0o600)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// query asks one question with DO.
func query(addr, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	a, _, err := (&dns.Client{Net: "tcp", Timeout: 3 * time.Second}).Exchange(m, addr)
	return a, err
}

// keys are the tags of the zone's keys with some flags, as a node serves them.
func (n *node) keys(flags uint16) string {
	a, err := query(n.dns, "example.test.", dns.TypeDNSKEY)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, rr := range a.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags == flags {
			out = append(out, fmt.Sprint(k.KeyTag()))
		}
	}
	return strings.Join(out, " ")
}

// soa is the zone's serial, and the key that signed it.
func (n *node) soa() (serial uint32, tag string) {
	a, err := query(n.dns, "example.test.", dns.TypeSOA)
	if err != nil {
		return 0, err.Error()
	}
	for _, rr := range a.Answer {
		switch rr := rr.(type) {
		case *dns.SOA:
			serial = rr.Serial
		case *dns.RRSIG:
			tag = fmt.Sprint(rr.KeyTag)
		}
	}
	return serial, tag
}

// validator runs unbound, which asks nodes and trusts a key that one of them serves.
func (f *fleet) validator(nodes ...*node) string {
	f.t.Helper()
	path, err := exec.LookPath("unbound")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/unbound"); err != nil {
			f.t.Fatal("unbound is missing: apt-get install unbound")
		}
	}
	a, err := query(nodes[0].dns, "example.test.", dns.TypeDNSKEY)
	if err != nil {
		f.t.Fatal(err)
	}
	anchor := ""
	for _, rr := range a.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags == dns.ZONE|dns.SEP {
			anchor = strings.Join(strings.Fields(k.ToDS(dns.SHA256).String()), " ")
		}
	}
	dir, addr := f.t.TempDir(), f.lane.address(f.t, 20)
	at := strings.Replace(addr, ":", "@", 1)
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  directory: %q\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n"+
		"  use-syslog: no\n  do-daemonize: no\n  val-log-level: 2\n  interface: %s\n"+
		"  access-control: 127.0.0.0/8 allow\n  do-ip6: no\n  do-not-query-localhost: no\n"+
		"  module-config: \"validator iterator\"\n  local-zone: \"test.\" nodefault\n"+
		"  trust-anchor: %q\n  cache-max-ttl: 0\n  cache-max-negative-ttl: 0\n"+
		"  infra-host-ttl: 1\nremote-control:\n  control-enable: no\n"+
		"stub-zone:\n  name: example.test\n", dir, at, anchor)
	for _, n := range nodes {
		fmt.Fprintf(&b, "  stub-addr: %s\n", strings.Replace(n.dns, ":", "@", 1))
	}
	conf := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	launch(f.t, "unbound", nil, path, "-d", "-c", conf)
	await(f.t, 10*time.Second, "unbound answers", func() bool {
		a, err := query(addr, "www.example.test.", dns.TypeA)
		return err == nil && a.Rcode == dns.RcodeSuccess && a.AuthenticatedData
	})
	return addr
}

// validate asks a validator all the time until the returned func, which reports what was not
// secure.
func (f *fleet) validate(addr string) (asked *atomic.Int64, end func()) {
	asked = new(atomic.Int64)
	var stop atomic.Bool
	var mu sync.Mutex
	bad := map[string]int{}
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for i := 0; !stop.Load(); i++ {
				q := []struct {
					name  string
					qtype uint16
					rcode int
				}{{"cdn", dns.TypeA, 0}, {"www", dns.TypeA, 0}, {"cdn", dns.TypeTXT, 0},
					{"gone", dns.TypeA, dns.RcodeNameError}}[i%4]
				a, err := query(addr, q.name+".example.test.", q.qtype)
				asked.Add(1)
				if err == nil && a.Rcode == q.rcode && a.AuthenticatedData {
					continue
				}
				mu.Lock()
				bad[fmt.Sprint(q.name, " ", err, " ", a)]++
				mu.Unlock()
			}
		})
	}
	return asked, func() {
		stop.Store(true)
		asking.Wait()
		f.t.Logf("%d validated lookups", asked.Load())
		for what, n := range bad {
			f.t.Errorf("%d times %s", n, what)
		}
	}
}

// older makes the keys of a signer that is stopped as old as can be, so that their next step is
// due.
func (n *node) older() {
	n.t.Helper()
	file := filepath.Join(filepath.Dir(n.config), n.vantage, "dnssec", "example.test", "state.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	var state map[string][]map[string]any
	if err := json.Unmarshal(raw, &state); err != nil {
		n.t.Fatal(err)
	}
	for _, k := range state["keys"] {
		k["since"] = time.Now().Add(-60 * 24 * time.Hour).UTC().Format(time.RFC3339)
	}
	if raw, err = json.Marshal(state); err == nil {
		err = os.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// noKeys looks for private keys in all that a node has: its folder and its environment.
func (n *node) noKeys(secrets []string) {
	n.t.Helper()
	look := func(where string, data []byte) {
		for _, s := range append(secrets, "PrivateKey:", "Private-key-format") {
			if bytes.Contains(data, []byte(s)) {
				n.t.Errorf("%s has a private key", where)
			}
		}
	}
	dir := filepath.Join(filepath.Dir(n.config), n.vantage)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if strings.HasSuffix(path, ".private") {
			n.t.Errorf("%s is a private key", path)
		}
		data, err := os.ReadFile(path)
		look(path, data)
		return err
	})
	if err != nil {
		n.t.Error(err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", n.cmd.Process.Pid))
	if err == nil {
		look("the environment", env)
	}
	look("the output", []byte(n.out.String()))
}

var privateKey = regexp.MustCompile(`PrivateKey: (\S+)`)

// secretsOf reads the signer's private keys.
func (n *node) secretsOf() []string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(n.config), n.vantage, "dnssec", "*", "*.private"))
	if err != nil || len(files) < 2 {
		n.t.Fatalf("the signer's keys: %v, %v", files, err)
	}
	var out []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			n.t.Fatal(err)
		}
		out = append(out, privateKey.FindStringSubmatch(string(text))[1])
	}
	return out
}

// TestNodesWithoutKeysServeASignedZone: one node signs, two serve what it publishes.
func TestNodesWithoutKeysServeASignedZone(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	server := redis(t, f.redis, "")
	a, b := f.prepareSigned("a", "keyless", 1), f.prepareSigned("b", "keyless", 2)
	signer := f.prepareSigned("s", "signer", 3)
	a.start()
	if m, err := query(a.dns, "www.example.test.", dns.TypeA); err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("before anything was signed: %v %v", m, err)
	}
	signer.start()
	b.start()
	serial, tag := uint32(0), ""
	await(t, 20*time.Second, "all serve the same", func() bool {
		serial, tag = signer.soa()
		sa, ta := a.soa()
		sb, tb := b.soa()
		return serial != 0 && tag != "" && sa == serial && sb == serial && ta == tag && tb == tag
	})
	addr := f.validator(a, b)
	asked, end := f.validate(addr)

	for i := range 100 { // changes of weights, each on both nodes
		o, err := a.api.AddOverride(t.Context(), api.Override{Kind: "weight", Backend: backends[i%4].name,
			Weight: uint32(1 + i%90), Reason: "a change of weights", For: "1h"})
		if err != nil {
			t.Fatal(err)
		}
		before := asked.Load()
		await(t, 5*time.Second, "lookups go on", func() bool { return asked.Load() >= before+8 })
		if err := a.api.RemoveOverride(t.Context(), o.ID); err != nil {
			t.Fatal(err)
		}
	}
	if now, _ := a.soa(); now != serial {
		t.Errorf("weights changed the serial from %d to %d", serial, now)
	}
	f.zoneKeyRolls(signer, tag, a, b)
	f.configRollsOn(signer, a)
	for _, n := range []*node{a, b} {
		n.noKeys(signer.secretsOf())
	}

	signer.kill()
	f.damaged(a)
	server.kill()
	before := asked.Load()
	await(t, 20*time.Second, "lookups go on without signer and store", func() bool {
		return asked.Load() >= before+200
	})
	end()
	// A start with signer and store gone serves from the node's own copy.
	b.end()
	b.start()
	if m, err := query(b.dns, "www.example.test.", dns.TypeA); err != nil || len(m.Answer) != 2 {
		t.Errorf("after a start with signer and store gone: %v %v", m, err)
	}
}

// zoneKeyRolls lets time pass for the signer's keys, step by step.
func (f *fleet) zoneKeyRolls(signer *node, tag string, a, b *node) {
	f.t.Helper()
	step := func(what string, holds func() bool) {
		f.t.Helper()
		signer.end()
		signer.older()
		signer.start()
		f.t.Logf("%s after %s", what, await(f.t, 30*time.Second, what, holds))
	}
	two := func(n *node) bool { return len(strings.Fields(n.keys(dns.ZONE))) == 2 }
	step("both show the new key", func() bool { return two(a) && two(b) })
	// Caches keep keys for their TTL, which the validator has cut to what is left of a second.
	began := time.Now()
	await(f.t, 5*time.Second, "caches are over", func() bool { return time.Since(began) > 2*time.Second })
	step("the new key signs", func() bool {
		_, ta := a.soa()
		_, tb := b.soa()
		return ta == tb && ta != tag && regexp.MustCompile(`^\d+$`).MatchString(ta)
	})
	began = time.Now()
	await(f.t, 5*time.Second, "caches are over", func() bool { return time.Since(began) > 2*time.Second })
	step("the old key is gone", func() bool {
		return !strings.Contains(a.keys(dns.ZONE), tag) && !strings.Contains(b.keys(dns.ZONE), tag)
	})
}

// configRollsOn gives a node new answers before the signer has them.
func (f *fleet) configRollsOn(signer, a *node) {
	f.t.Helper()
	old, next := "192.0.2.80}", "192.0.2.81}"
	address := func(n *node) string {
		m, err := query(n.dns, "www.example.test.", dns.TypeA)
		if err != nil || len(m.Answer) != 2 {
			return fmt.Sprint(m, err)
		}
		return m.Answer[0].(*dns.A).A.String()
	}
	a.rewrite(old, next)
	await(f.t, 10*time.Second, "a says that it waits", func() bool {
		return strings.Contains(a.out.String(), "not published yet")
	})
	if got := address(a); got != "192.0.2.80" {
		f.t.Errorf("before it was signed: %s", got)
	}
	signer.rewrite(old, next)
	f.t.Logf("the new answer was on both %s after the signer had it", await(f.t, 20*time.Second,
		"the new answer", func() bool { return address(a) == "192.0.2.81" && address(signer) == "192.0.2.81" }))
}

// damaged writes rubbish in the place of the publication; nobody may take it.
func (f *fleet) damaged(a *node) {
	f.t.Helper()
	s, err := redisstore.New(redisstore.Config{Address: f.redis, Prefix: "pointsman/"})
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	const key = "dnssec/example.test./current"
	e, err := s.Get(f.t.Context(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := s.Put(f.t.Context(), key, e.Value[:len(e.Value)/2], store.PutOptions{}); err != nil {
		f.t.Fatal(err)
	}
	await(f.t, 20*time.Second, "a refuses it", func() bool {
		return strings.Contains(a.out.String(), "publication refused")
	})
}
