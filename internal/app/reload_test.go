package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
)

// facts are what a reload may change, as clients see it.
type facts struct {
	Config, Table string
	Static        []string
	Hosts         []string
	Backends      []string
	Providers     []string
	Edge          int // status of a request for the second site
}

func (n *node) facts() facts {
	n.t.Helper()
	st := n.status()
	f := facts{Config: st.ConfigHash, Table: st.TableHash, Static: n.ask("www.example.test.")}
	for _, h := range st.Hosts {
		f.Hosts = append(f.Hosts, h.Host)
	}
	for _, b := range st.Backends {
		f.Backends = append(f.Backends, b.Name+" "+b.Answer)
	}
	list, err := n.admin.Providers(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, p := range list {
		f.Providers = append(f.Providers, p.Name)
	}
	f.Edge = n.edge("img.example.test")
	return f
}

// edge asks the edge for a page of a host.
func (n *node) edge(host string) int {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet,
		"http://"+n.Addrs().Edge[0].String()+"/", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = host
	res, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// changed is a config in which every part that a reload can change is another.
func (s *site) changed() string {
	return s.with("data: 192.0.2.80", "data: 192.0.2.81", "weight: 70", "weight: 10",
		"addresses: [192.0.2.2]", "addresses: [192.0.2.22]", "name: acme", "name: zenith",
		"provider: acme", "provider: zenith", "hosts: [cdn.example.test], origin",
		"hosts: [cdn.example.test, img.example.test], origin")
}

func TestAGoodReloadChangesEverythingAtOnce(t *testing.T) {
	s := newSite(t)
	n := s.start()
	before := n.facts()
	s.write(s.changed())
	got, err := n.Reload(t.Context())
	if err != nil || !got.Changed || got.ConfigHash == before.Config {
		t.Fatalf("got %+v, %v", got, err)
	}
	after := n.facts()
	want := facts{Config: got.ConfigHash, Table: after.Table, Static: []string{"192.0.2.81"},
		Hosts: []string{"cdn.example.test"}, Providers: []string{"zenith"}, Edge: 200,
		Backends: []string{"one 192.0.2.1", "two 192.0.2.22"}}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	if after.Table == before.Table || before.Edge == 200 {
		t.Errorf("before it was %+v", before)
	}
	again, err := n.Reload(t.Context())
	if err != nil || again.Changed || again.ConfigHash != got.ConfigHash {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if left := strings.Count(s.log.String(), "config reloaded"); left != 2 {
		t.Errorf("the log tells of %d reloads", left)
	}
}

// TestABadReloadChangesNothing breaks each part of a config that is otherwise all new.
func TestABadReloadChangesNothing(t *testing.T) {
	s := newSite(t)
	n := s.start()
	before := n.facts()
	good := s.changed()
	bad := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the config has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, c := range map[string]struct{ config, want string }{
		"no YAML":              {"node: [", "node.yaml"},
		"an unknown key":       {bad("weight: 10", "wieght: 10"), "did you mean weight?"},
		"a zone's bad record":  {bad("192.0.2.81", "192.0.2.81 x"), "node.yaml:12:36: zones[0].records[1]"},
		"a host without zone":  {bad("name: cdn.example.test", "name: cdn.example.org"), "hosts[0].name"},
		"a pool that is none":  {bad("pools: [cdns]", "pools: [none]"), "hosts[0].pools[0]"},
		"a backend twice":      {bad("name: two", "name: one"), "backends[1].name"},
		"a provider's secret":  {bad("ACME_TOKEN", "NO_TOKEN"), "NO_TOKEN is not set"},
		"a provider's service": {bad("SU1Z0isxPaozGVKXdv0eY", "a/../b"), "providers[0]"},
		"a probe's URL":        {bad(s.two.URL, "gopher://x"), "backends[1].probe"},
		"an edge's origin":     {bad("origin: \""+s.origin.URL, "origin: \"ftp://x"), "edge.sites[0]"},
		"all weights 0":        {strings.NewReplacer("weight: 10", "weight: 0", "weight: 30", "weight: 0").Replace(good), "weight"},
		"empty":                {"", "node.yaml"},
		"a larger file":        {"#" + strings.Repeat("x", 2<<20), "limit is 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s.write(c.config)
			_, err := n.admin.Reload(t.Context())
			var p *api.Problem
			if !errors.As(err, &p) || p.Status != 409 || p.Code != "refused" ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it refused with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("a secret is in %v", err)
			}
			if diff := cmp.Diff(before, n.facts()); diff != "" {
				t.Errorf("it changed (-before +after):\n%s", diff)
			}
		})
	}
	s.write(good) // and none of that stands in a good one's way
	if _, err := n.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestChangesThatNeedARestartAreNamed(t *testing.T) {
	s := newSite(t)
	n := s.start()
	before := n.facts()
	for key, config := range map[string]string{
		"node":           s.with("node: n1", "node: n2"),
		"vantage":        s.with("vantage: here", "vantage: there"),
		"roles":          s.with("vantage: here", "vantage: here\nroles: [dns, admin]"),
		"state_dir":      s.with("/state\"", "/elsewhere\""),
		"log":            s.with("level: debug", "level: info"),
		"store":          s.with("zones:", "store: {kind: redis, redis: {address: \"127.0.0.1:1\"}}\nzones:"),
		"dns.listen":     s.with(`dns: {listen: ["127.0.0.1:0"]}`, `dns: {listen: ["127.0.0.2:0"]}`),
		"edge.memory":    s.with("1MiB", "2MiB"),
		"edge.listen":    s.with("[\"127.0.0.1:0\"]\n  memory", "[\"127.0.0.2:0\"]\n  memory"),
		"admin":          s.with(`admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.2:0"}`),
		"purge":          s.with("edge:", "purge: {deadline: 1h}\nedge:"),
		"probing.budget": s.with("fall: 2}", "fall: 2, budget: 99}"),
	} {
		t.Run(key, func(t *testing.T) {
			s.write(config)
			_, err := n.admin.Reload(t.Context())
			if err == nil || !placed(key).MatchString(err.Error()) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(before, n.facts()); diff != "" {
				t.Errorf("it changed (-before +after):\n%s", diff)
			}
		})
	}
	s.write(s.with("node: n1", "node: n2", "1MiB", "2MiB"))
	var p *api.Problem
	_, err := n.Reload(t.Context())
	if !errors.As(err, &p) || cmp.Diff([]string{
		s.path + ":1:7: node: a change needs a restart",
		s.path + ":33:11: edge.memory: a change needs a restart",
	}, p.Findings) != "" {
		t.Errorf("two at once: %v", err)
	}
}

// placed finds the complaint about a key, with a line and column of the file.
func placed(key string) *regexp.Regexp {
	return regexp.MustCompile(`node\.yaml:\d+:\d+: ` + regexp.QuoteMeta(key) +
		`: a change needs a restart`)
}

func TestASecretThatWasRotatedIsInForceAfterAReload(t *testing.T) {
	s := newSite(t)
	tokens := make(chan string, 10)
	double := newDouble(t, tokens)
	file := s.dir + "/token"
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	s.write(s.with("token_env: ACME_TOKEN", fmt.Sprintf("token_file: %q\n    base_url: %q", file, double)))
	n := s.start()
	purge := func() string {
		t.Helper()
		if _, err := n.admin.Purge(t.Context(), api.Purge{Kind: "tag", Items: []string{"x"}}, ""); err != nil {
			t.Fatal(err)
		}
		return <-tokens
	}
	if got := purge(); got != "first" {
		t.Errorf("the first purge carried %q", got)
	}
	write("second")
	if got, err := n.Reload(t.Context()); err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := purge(); got != "second" {
		t.Errorf("after the reload a purge carried %q", got)
	}
}

func TestTheConfigIsReadAgainWhenItsFileChangesOrBySignal(t *testing.T) {
	s := newSite(t)
	hup := make(chan os.Signal, 1)
	n := s.start(func(o *app.Options) { o.Hup = hup })
	reloads := func() int {
		return strings.Count(s.log.String(), "config reloaded") +
			strings.Count(s.log.String(), "config refused")
	}
	eventually(t, "the watch", func() bool { return n.status().Ready })
	hup <- syscall.SIGHUP
	eventually(t, "a reload by signal", func() bool { return reloads() == 1 })

	s.write(s.changed()) // renamed over the old one
	eventually(t, "a reload by the file", func() bool {
		return len(n.ask("www.example.test.")) == 1 &&
			n.ask("www.example.test.")[0] == "192.0.2.81"
	})
	if err := os.WriteFile(s.path, []byte("node: ["), 0o600); err != nil { // written in place
		t.Fatal(err)
	}
	eventually(t, "a refusal", func() bool { return strings.Contains(s.log.String(), "config refused") })
	if got := n.ask("www.example.test."); cmp.Diff([]string{"192.0.2.81"}, got) != "" {
		t.Errorf("after a bad file it answers %v", got)
	}
	eventsSay(t, n, "config refused, the old one serves on", "is in force")
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refusal of no file", func() bool {
		return strings.Contains(s.log.String(), "there is no such file")
	})
	s.write(s.config)
	eventually(t, "a reload of the file that is back", func() bool {
		return n.ask("www.example.test.")[0] == "192.0.2.80"
	})
}

func eventsSay(t *testing.T, n *node, want ...string) {
	t.Helper()
	events, err := n.admin.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, e := range events {
		text += e.Kind + " " + e.Message + "\n"
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q among the events\n%s", w, text)
		}
	}
}

// TestReloadsUnderWayAtOnceAllSeeOneConfig: they take turns, and none mixes two.
func TestReloadsUnderWayAtOnceAllSeeOneConfig(t *testing.T) {
	s := newSite(t)
	n := s.start()
	s.write(s.changed())
	var all sync.WaitGroup
	changed := make(chan bool, 8)
	for range 8 {
		all.Go(func() {
			got, err := n.Reload(t.Context())
			if err != nil {
				t.Error(err)
			}
			changed <- got.Changed
		})
	}
	all.Wait()
	close(changed)
	count := 0
	for c := range changed {
		if c {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d of 8 reloads changed the config", count)
	}
}
