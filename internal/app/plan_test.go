package app_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/app"
	"pointsman/steering/replay"
	"pointsman/steering/whatif"
)

// planConfig is a config whose hosts are sticky, spread, and apart by place. The weights and more
// come with the changes.
const planConfig = `node: n1
vantage: here
state_dir: %q
log: {level: error, format: text}
dns:
  listen: ["127.0.0.1:0"]
  rate_limit: {mode: "off"}
  decision_log: {file: %q, sample: 1}
zones: [{name: example.test, ns: [ns1], records: [{name: ns1, type: A, data: 192.0.2.53}]}]
probing: {interval: 1s, timeout: 900ms, rise: 1, fall: 2}
backends:
  - {name: one, addresses: [192.0.2.1], cost: 0.02, capacity: 900, probe: {url: %q}}
  - {name: two, addresses: [192.0.2.2], cost: 0.04, probe: {url: %q}}
  - {name: three, addresses: [192.0.2.3], cost: 0.01, probe: {url: %q}}
pools:
  - {name: all, members: [{backend: one, weight: 60}, {backend: two, weight: 30},
      {backend: three, weight: 10}]}
  - {name: home, members: [{backend: two, weight: 100}]}
hosts:
  - {name: sticky.example.test, ttl: 5s, pools: [all], stickiness: sticky, ramp: 0s, load: 1000}
  - name: spread.example.test
    ttl: 5s
    pools: [all]
    stickiness: spread
    ramp: 0s
    load: 500
    places: [{name: americas, countries: [US, CA, BR, MX], pools: [home, all]}]
admin: {listen: "127.0.0.1:0"}
`

// audience is clients by how often they ask, in the same number each time, in an order of the
// seed's.
func audience(t *testing.T, seed uint64) (out []netip.Prefix) {
	t.Helper()
	m := whatif.Model{Resolvers: 500, Exponent: 1.1}
	for _, c := range m.Clients(7, nil) {
		p, err := c.Prefix.Addr().Prefix(24)
		if err != nil {
			t.Fatal(err)
		}
		for range int(math.Ceil(4 * c.Weight)) {
			out = append(out, p)
		}
	}
	rand.New(rand.NewPCG(seed, 2)).Shuffle(len(out), func(i, j int) {
		out[i], out[j] = out[j], out[i]
	})
	return out
}

// asksAll asks for both hosts for each client, and returns how many queries that were.
func asksAll(t *testing.T, at string, clients []netip.Prefix) (n int) {
	t.Helper()
	c, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c, UDPSize: 1232}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	for _, p := range clients {
		for _, host := range []string{"sticky", "spread"} {
			m := new(dns.Msg).SetQuestion(host+".example.test.", dns.TypeA)
			m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT},
				Option: []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1,
					SourceNetmask: 24, Address: p.Addr().AsSlice()}}}}
			if err := conn.WriteMsg(m); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.ReadMsg(); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	return n
}

// logged waits until the log has so many lines, and returns them.
func logged(t *testing.T, name string, n int) []byte {
	t.Helper()
	var raw []byte
	eventually(t, "the log is written", func() bool {
		raw, _ = os.ReadFile(name)
		return bytes.Count(raw, []byte("\n")) >= n
	})
	return raw
}

// measured counts the shares of lines by "host backend".
func measured(t *testing.T, raw []byte) map[string]float64 {
	t.Helper()
	out, sums := map[string]float64{}, map[string]float64{}
	for text := range bytes.Lines(raw) {
		l, err := replay.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		out[l.Host+" "+l.Backend]++
		sums[l.Host]++
	}
	for k := range out {
		host, _, _ := strings.Cut(k, " ")
		out[k] /= sums[host]
	}
	return out
}

// TestAPlanForetellsTheSharesThatAreMeasuredAfterTheChange plans changes on the queries that a
// node recorded, makes them on the running node, and counts what it then answers.
func TestAPlanForetellsTheSharesThatAreMeasuredAfterTheChange(t *testing.T) {
	s := newSite(t)
	log := filepath.Join(s.dir, "decisions.log")
	s.config = fmt.Sprintf(planConfig, s.state(), log, s.one.URL, s.two.URL, s.origin.URL)
	s.write(s.config)
	n := s.start()
	lines := asksAll(t, n.dns, audience(t, 1))
	for i, change := range [][]string{
		{"one, weight: 60", "one, weight: 20"},
		{"three, weight: 10", "three, weight: 70", "[US, CA, BR, MX]", "[US, DE]"},
		{"stickiness: sticky", "stickiness: spread", "pools: [home, all]", "pools: [all]"},
	} {
		next := filepath.Join(s.dir, "next.yaml")
		s.config = s.with(change...)
		if err := os.WriteFile(next, []byte(s.config), 0o600); err != nil {
			t.Fatal(err)
		}
		before := logged(t, log, lines)
		o := s.options()
		o.Path = next
		p, err := app.MakePlan(app.PlanOptions{New: o, Last: time.Hour,
			Logs: app.Logs{Files: []string{log}}})
		if err != nil {
			t.Fatal(err)
		}
		s.write(s.config)
		if _, err := n.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines += asksAll(t, n.dns, audience(t, uint64(10+i)))
		after := measured(t, logged(t, log, lines)[len(before):])
		worst := 0.0
		for _, h := range p.Hosts {
			for _, share := range h.Shares {
				worst = max(worst, math.Abs(share.New-after[h.Host+" "+share.Backend])*100)
			}
		}
		t.Logf("%v: churn %.1f %% (least %.1f %%); foretold shares are off by %.2f points at most",
			change, p.Churn*100, p.Least*100, worst)
		if worst > 1 || len(p.Skipped) > 0 || len(p.Hosts) != 2 {
			t.Errorf("%v: off by %.2f points; skipped %v", change, worst, p.Skipped)
		}
	}
}

func TestAPlanOfABadConfigNamesTheMistake(t *testing.T) {
	s := newSite(t)
	o := s.options()
	o.Path, o.Name, o.Data = "", "new.yaml", []byte(s.with("weight: 70", "wieght: 70"))
	old := s.options()
	_, err := app.MakePlan(app.PlanOptions{New: o, Old: &old,
		Model: &whatif.Model{Resolvers: 10, Exponent: 1}})
	if err == nil || !strings.Contains(err.Error(), "did you mean weight?") {
		t.Errorf("got %v", err)
	}
}

func TestAPlanByAModelHoldsBothConfigsSideBySide(t *testing.T) {
	s := newSite(t)
	old := s.options()
	o := s.options()
	o.Path, o.Name = "", "new.yaml"
	o.Data = []byte(s.with("weight: 70", "weight: 30", "name: cdn.example.test, ttl",
		"name: new.example.test, ttl", "hosts: [cdn.example.test]", "hosts: [new.example.test]"))
	p, err := app.MakePlan(app.PlanOptions{New: o, Old: &old,
		Model: &whatif.Model{Resolvers: 2000, Exponent: 1.1}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Gained) != 1 || p.Gained[0] != "new.example.test." || len(p.Lost) != 1 ||
		p.Lost[0] != "cdn.example.test." {
		t.Errorf("gained %v, lost %v", p.Gained, p.Lost)
	}
	o.Data = []byte(s.with("weight: 70", "weight: 30"))
	p, err = app.MakePlan(app.PlanOptions{New: o, Old: &old,
		Model: &whatif.Model{Resolvers: 2000, Exponent: 1.1}})
	if err != nil {
		t.Fatal(err)
	}
	h := p.Hosts[0]
	if len(h.Shares) != 2 || len(h.Countries) < 20 || h.Churn < h.Least-1e-9 ||
		math.Abs(h.Shares[0].Old-0.7) > 0.1 || math.Abs(h.Shares[0].New-0.5) > 0.1 {
		t.Errorf("got %+v", h.Group)
	}
}
