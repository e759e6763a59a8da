package app_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/app"
	"pointsman/probes"
)

func TestANodeStartsAnswersAndStopsWithoutATrace(t *testing.T) {
	s := newSite(t)
	n := s.start()
	eventually(t, "readiness", func() bool { return n.status().Ready })
	if got := n.ask("www.example.test."); cmp.Diff([]string{"192.0.2.80"}, got) != "" {
		t.Errorf("the static name answers %v", got)
	}
	if got := n.ask("cdn.example.test."); len(got) != 1 || !strings.HasPrefix(got[0], "192.0.2.") {
		t.Errorf("the steered name answers %v", got)
	}
	a := n.Addrs()
	if err := n.stop(); err != nil {
		t.Errorf("a stop that was asked for is an error: %v", err)
	}
	bindable(t, a.DNS[0].String())
	bindable(t, a.Edge[0].String())
	bindable(t, a.Admin.String())
	info, err := os.Stat(s.state())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the state folder is %v, %v", info.Mode(), err)
	}
}

func TestARefusedConfigNamesEveryMistakeAtItsPlace(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"two the config sees": {s.with("ttl: 5s", "ttl: 5q", "weight: 30", "wieght: 30"),
			[]string{"node.yaml:23:71: pools[0].members[1].wieght", "did you mean weight?",
				"node.yaml:25:35: hosts[0].ttl"}},
		"two that parts see": {s.with("data: 192.0.2.80", "data: 192.0.2.800", "type: A, data: 192.0.2.53",
			"type: WAT, data: 192.0.2.53"),
			[]string{"config refused\n", "node.yaml:9:10: zones[0].ns[0]",
				"node.yaml:11:27: zones[0].records[0].type", "node.yaml:12:36: zones[0].records[1].data"}},
		"a host outside of every zone": {s.with("name: cdn.example.test", "name: cdn.example.org"),
			[]string{"node.yaml:25:12: hosts[0].name"}},
		"a provider without its secret": {s.with("ACME_TOKEN", "NO_TOKEN"),
			[]string{"node.yaml:30:16: providers[0].token_env"}},
		"a CA that is not there": {s.with("token_env: ACME_TOKEN", "token_env: ACME_TOKEN\n    ca_file: /none.pem"),
			[]string{"providers[0].ca_file", "/none.pem"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.write(c.config)
			_, err := app.New(t.Context(), s.options())
			if !errors.Is(err, app.ErrConfig) {
				t.Fatalf("got %v, want an ErrConfig", err)
			}
			_, checked := app.Check(s.options())
			if !errors.Is(checked, app.ErrConfig) || cmp.Diff(err.Error(), checked.Error()) != "" {
				t.Errorf("Check says %v\nNew says %v", checked, err)
			}
			rest := err.Error()
			for _, want := range c.want { // in the order of the file
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Errorf("no %q, or not in its place, in\n%v", want, err)
					continue
				}
				rest = after
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("a secret is in\n%v", err)
			}
			if _, err := os.Stat(s.state()); err == nil {
				t.Error("a refused config left a state folder")
			}
		})
	}
}

func TestAFileThatIsNotThereIsARefusedConfig(t *testing.T) {
	s := newSite(t)
	s.path = filepath.Join(s.dir, "none.yaml")
	if _, err := app.New(t.Context(), s.options()); !errors.Is(err, app.ErrConfig) ||
		!strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
}

// TestAStartThatFailsHalfwayFreesWhatItTook makes each later part fail in turn.
func TestAStartThatFailsHalfwayFreesWhatItTook(t *testing.T) {
	s := newSite(t)
	dns, edge, admin := free(t), free(t), free(t)
	all := func(dns, edge, admin string) string {
		return s.with(`dns: {listen: ["127.0.0.1:0"]}`, fmt.Sprintf("dns: {listen: [%q]}", dns),
			"listen: [\"127.0.0.1:0\"]\n  memory", fmt.Sprintf("listen: [%q]\n  memory", edge),
			`admin: {listen: "127.0.0.1:0"}`, fmt.Sprintf("admin: {listen: %q}", admin))
	}
	taken := take(t)
	for name, c := range map[string]struct{ config, want string }{
		"the nameserver's port is taken": {all(taken, edge, admin), "dns.listen"},
		"the edge's port is taken":       {all(dns, taken, admin), "edge"},
		"the admin API's port is taken":  {all(dns, edge, taken), "admin.listen"},
	} {
		t.Run(name, func(t *testing.T) {
			s.write(c.config)
			_, err := app.New(t.Context(), s.options())
			if err == nil || errors.Is(err, app.ErrConfig) || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), taken) {
				t.Errorf("got %v", err)
			}
			for _, address := range []string{dns, edge, admin} {
				bindable(t, address)
			}
		})
	}
	s.write(all(dns, edge, admin)) // the store's file is free too, and everything else
	n := s.start()
	if got := n.ask("www.example.test."); cmp.Diff([]string{"192.0.2.80"}, got) != "" {
		t.Errorf("after all that the node answers %v", got)
	}
}

func TestAStateFolderInUseOrUnusableIsToldAsSuch(t *testing.T) {
	s := newSite(t)
	s.start()
	_, err := app.New(t.Context(), s.options())
	if err == nil || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("a second node on one folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(s.with("/state\"", "/file\""))
	if _, err := app.New(t.Context(), s.options()); err == nil || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("a folder that is a file: %v", err)
	}
}

func TestRolesSelectWhatRuns(t *testing.T) {
	for roles, want := range map[string]struct {
		stages           [][]string
		dns, edge, admin bool
	}{
		"[dns, probe, edge, admin]": {[][]string{{"the nameserver"}, {"the edge", "the admin API"},
			{"the drills", "the reloads", "the fetching of zones", "the notifying of secondaries",
				"the probes"}, answering()}, true, true, true},
		"[dns]": {[][]string{{"the nameserver"}, nil, {"the drills", "the reloads",
			"the fetching of zones", "the notifying of secondaries"}, answering()}, true, false, false},
		"[edge]": {[][]string{nil, {"the edge"}, {"the drills", "the reloads"}, keeping()}, false, true, false},
		"[probe, admin]": {[][]string{nil, {"the admin API"}, {"the drills", "the reloads", "the probes"},
			keeping()}, false, false, true},
	} {
		t.Run(roles, func(t *testing.T) {
			s := newSite(t)
			s.write(s.with("vantage: here", "vantage: here\nroles: "+roles))
			a, err := app.New(t.Context(), s.options())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.stages, a.Stages()); diff != "" {
				t.Errorf("stages (-want +got):\n%s", diff)
			}
			got := a.Addrs()
			if (len(got.DNS) > 0) != want.dns || (len(got.Edge) > 0) != want.edge ||
				(got.Admin != nil) != want.admin {
				t.Errorf("bound to %+v", got)
			}
			run(t, a)
		})
	}
}

func answering() []string { return append(keeping(), "the cookie secrets") }

func keeping() []string {
	return []string{"the health tracker", "the country data", "the published signatures", "the names behind hosts",
		"the feeds", "the engine", "the slow loop", "the overrides",
		"the audit log", "the purges", "the state keeper"}
}

func TestCheckOpensNothingAndCountsWhatItSaw(t *testing.T) {
	s := newSite(t)
	address := take(t) // a socket would not be had
	s.write(s.with(`dns: {listen: ["127.0.0.1:0"]}`, fmt.Sprintf("dns: {listen: [%q]}", address)))
	got, err := app.Check(s.options())
	if err != nil {
		t.Fatal(err)
	}
	if want := "1 zone, 1 steered name, 2 backends, 1 provider"; got.Summary != want {
		t.Errorf("the summary is %q, want %q", got.Summary, want)
	}
	if len(got.Warnings) == 0 {
		t.Error("no last resort is a trap, and nothing warns of it")
	}
	if _, err := os.Stat(s.state()); err == nil {
		t.Error("it made the state folder")
	}
}

func TestProbeMeasuresEachBackendOnce(t *testing.T) {
	s := newSite(t)
	s.two.breakIt(true)
	got, err := app.Probe(t.Context(), s.options(), nil)
	if err != nil || len(got) != 2 || got[0].Backend != "one" || got[0].Outcome != probes.OK ||
		got[1].Outcome == probes.OK {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = app.Probe(t.Context(), s.options(), []string{"two"})
	if err != nil || len(got) != 1 || got[0].Backend != "two" {
		t.Errorf("of two alone: %+v, %v", got, err)
	}
	if _, err = app.Probe(t.Context(), s.options(), []string{"twoo"}); err == nil ||
		!strings.Contains(err.Error(), "twoo") {
		t.Errorf("of nobody: %v", err)
	}
	s.write("node: [")
	if _, err = app.Probe(t.Context(), s.options(), nil); !errors.Is(err, app.ErrConfig) {
		t.Errorf("of a bad config: %v", err)
	}
}

// TestTheLastKnownStateIsThereAfterARestart: a backend that was down must not get traffic
// because the node that knew it started anew.
func TestTheLastKnownStateIsThereAfterARestart(t *testing.T) {
	s := newSite(t)
	s.two.breakIt(true)
	n := s.start()
	eventually(t, "the fall of two", func() bool { return n.target("two") == 0 })
	if _, err := n.admin.AddOverride(t.Context(), drain("one", "1h")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drain of one", func() bool { return n.status().Hosts[0].Reason != "pool" })
	before := n.status()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	// Without the role probe nothing can be measured: what the node knows is what it kept.
	s.write(s.with("vantage: here", "vantage: here\nroles: [dns, admin]"))
	began := time.Now()
	again := s.start()
	first := again.ask("cdn.example.test.")
	took := time.Since(began)
	after := again.status()
	t.Logf("the first right answer came %s after the start", took)
	if took > time.Second {
		t.Errorf("the first answer took %s", took)
	}
	if after.TableVersion <= before.TableVersion {
		t.Errorf("the table is version %d after %d", after.TableVersion, before.TableVersion)
	}
	if after.TableHash != before.TableHash {
		t.Errorf("the tables differ: %+v and %+v", before.Hosts, after.Hosts)
	}
	if len(after.Overrides) != 1 || len(first) != 1 {
		t.Errorf("overrides %+v, answer %v", after.Overrides, first)
	}
	for _, b := range after.Backends {
		if b.Name == "two" && b.State != "unhealthy" {
			t.Errorf("two is %s after the restart", b.State)
		}
	}
}

// TestAnExplanationIsAsYoungAsTheLastProbe: what was confirmed a moment ago is not shown with
// the age of its last change.
func TestAnExplanationIsAsYoungAsTheLastProbe(t *testing.T) {
	n := newSite(t).start()
	eventually(t, "health", func() bool { return n.status().Backends[1].State == "healthy" })
	version := n.status().TableVersion
	changed := time.Now()
	eventually(t, "an explanation from later probes", func() bool {
		x, err := n.admin.Explain(t.Context(), "cdn.example.test", "192.0.2.7")
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, s := range x.Steps {
			for _, in := range s.Inputs {
				if strings.HasPrefix(in.Name, "health") && in.At.After(changed) {
					seen++
				}
			}
		}
		return seen == 2
	})
	if now := n.status().TableVersion; now != version {
		t.Errorf("that took new tables: %d, then %d", version, now)
	}
}

func TestAStateThatDoesNotReadIsLeftOut(t *testing.T) {
	s := newSite(t)
	n := s.start()
	eventually(t, "a state on disk", func() bool { return n.status().Backends[0].State == "healthy" })
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	spoil(t, filepath.Join(s.state(), "pointsman.db"))
	again := s.start()
	if got := again.ask("cdn.example.test."); len(got) != 1 {
		t.Errorf("it answers %v", got)
	}
	if !strings.Contains(s.log.String(), "last known state not read") {
		t.Error("the log does not say so")
	}
}
