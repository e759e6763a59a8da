package nodes_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/internal/store/redisstore"
)

// overrideID finds the ID in what the command line says of an override.
var overrideID = regexp.MustCompile(`ov-[0-9a-f]+`)

func TestTwoNodesOnOneRedisShareOverridesAndVotes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	server := redis(t, f.redis, "")
	a, b := f.prepare("a", 1), f.prepare("b", 2)
	a.start()
	b.start()
	endA, endB := a.watch(), b.watch()

	f.overridesTravel(a, b)
	f.votesDecide(a, b)
	f.redisHangs(server, a, b)
	server = f.redisDies(server, a, b)
	f.redisForgets(server, a, b)

	endA()
	endB()
}

// overridesTravel drains on one node and undoes it on the other.
func (f *fleet) overridesTravel(a, b *node) {
	f.t.Helper()
	out := a.cli(0, "drain", "one", "--for", "1h", "--reason", "works at the vendor")
	if strings.Contains(out, "this node only") {
		f.t.Errorf("with the store in reach: %s", out)
	}
	f.t.Logf("a drain on a was in force on b after %s", await(f.t, 2*time.Second, "the drain on b",
		func() bool { return b.target("one") == 0 }))
	if !a.without("one") || !b.without("one") {
		f.t.Error("answers still name the drained backend")
	}
	b.cli(0, "undo", overrideID.FindString(out))
	f.t.Logf("its end on b was in force on a after %s", await(f.t, 2*time.Second, "the end on a",
		func() bool { return a.target("one") == 40 }))
}

// votesDecide breaks a backend as seen from one vantage, then from both.
func (f *fleet) votesDecide(a, b *node) {
	f.t.Helper()
	for _, n := range []*node{a, b} {
		await(f.t, 5*time.Second, "both vantages vote", func() bool {
			out := n.cli(0, "explain", "cdn.example.test", "--client", "192.0.2.7")
			return strings.Contains(out, "vantage a votes healthy") &&
				strings.Contains(out, "vantage b votes healthy")
		})
	}
	f.breakFor("a", "two", true)
	await(f.t, 5*time.Second, "b knows that a votes against it", func() bool {
		return strings.Contains(b.cli(0, "explain", "cdn.example.test", "--client", "192.0.2.7"),
			"vantage a votes unhealthy")
	})
	remains(f.t, 1500*time.Millisecond, "a tie keeps the backend on both nodes", func() bool {
		return a.target("two") == 30 && b.target("two") == 30
	})
	f.breakFor("b", "two", true)
	began := time.Now()
	await(f.t, 5*time.Second, "out on a", func() bool { return a.target("two") == 0 })
	await(f.t, 5*time.Second, "out on b", func() bool { return b.target("two") == 0 })
	f.t.Logf("down for both vantages, it was out on both after %s", time.Since(began))
	if !a.without("two") || !b.without("two") {
		f.t.Error("answers still name the dead backend")
	}
	f.breakFor("a", "two", false)
	f.breakFor("b", "two", false)
	began = time.Now()
	await(f.t, 15*time.Second, "back on both in full", func() bool {
		return a.target("two") == 30 && b.target("two") == 30
	})
	f.t.Logf("healed, it had its full share on both after %s", time.Since(began))
}

// redisHangs stops the store without closing its connections.
func (f *fleet) redisHangs(server *process, a, b *node) {
	f.t.Helper()
	server.signal(syscall.SIGSTOP)
	began := time.Now()
	out := a.cli(0, "drain", "three", "--for", "1h", "--reason", "while the store hangs")
	took := time.Since(began)
	if !strings.Contains(out, "in force on this node only") {
		f.t.Errorf("the command line says: %s", out)
	}
	await(f.t, time.Second, "in force on a", func() bool { return a.target("three") == 0 })
	f.t.Logf("with the store hanging a drain took %s", took)
	if took > 5*time.Second {
		f.t.Errorf("with the store hanging a drain took %s", took)
	}
	server.signal(syscall.SIGCONT)
	f.t.Logf("it came to b %s after the store went on", await(f.t, 10*time.Second, "the drain on b",
		func() bool { return b.target("three") == 0 }))
	await(f.t, 5*time.Second, "no longer marked as local", func() bool {
		list := a.status().Overrides
		return len(list) == 1 && !list[0].Local
	})
	b.cli(0, "undo", overrideID.FindString(out))
	await(f.t, 2*time.Second, "its end on both", func() bool {
		return a.target("three") == 20 && b.target("three") == 20
	})
}

// redisDies kills the store, takes an override on each node, and brings an empty store back.
func (f *fleet) redisDies(server *process, a, b *node) *process {
	f.t.Helper()
	server.kill()
	outA := a.cli(0, "drain", "one", "--for", "1h", "--reason", "alone")
	outB := b.cli(0, "weight", "four", "90", "--for", "1h", "--reason", "alone")
	for _, out := range []string{outA, outB} {
		if !strings.Contains(out, "in force on this node only") {
			f.t.Errorf("the command line says: %s", out)
		}
	}
	await(f.t, 5*time.Second, "each on its own", func() bool {
		return a.target("one") == 0 && b.target("one") > 0 && b.target("four") > a.target("four")
	})
	await(f.t, 5*time.Second, "both say that the store is away", func() bool {
		return !a.status().Store.Reachable && !b.status().Store.Reachable
	})
	if out := a.cli(0, "status"); !strings.Contains(strings.ToLower(out), "out of reach") {
		f.t.Errorf("the status does not say so:\n%s", out)
	}
	server = redis(f.t, f.redis, "")
	f.t.Logf("both overrides were in force on both nodes %s after the store was back, empty",
		await(f.t, 10*time.Second, "both on both", func() bool {
			return a.target("one") == 0 && b.target("one") == 0 && a.target("four") == b.target("four")
		}))
	await(f.t, 5*time.Second, "nothing is marked as local", func() bool {
		for _, n := range []*node{a, b} {
			for _, o := range n.status().Overrides {
				if o.Local {
					return false
				}
			}
		}
		return true
	})
	return server
}

// redisForgets empties the store under the nodes.
func (f *fleet) redisForgets(_ *process, a, b *node) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	p, err := a.api.Purge(ctx, api.Purge{Kind: "tag", Items: []string{"before-the-flush"}}, "")
	if err != nil {
		f.t.Fatal(err)
	}
	await(f.t, 10*time.Second, "the purge is done as b sees it", func() bool {
		st, err := b.api.PurgeStatus(ctx, p.ID, 0)
		return err == nil && st.Final
	})
	if got := redisCommand(f.t, f.redis, "FLUSHALL"); got != "+OK" {
		f.t.Fatalf("FLUSHALL: %s", got)
	}
	remains(f.t, 2*time.Second, "both overrides on both nodes", func() bool {
		return a.target("one") == 0 && b.target("one") == 0 && len(a.status().Overrides) == 2 &&
			len(b.status().Overrides) == 2
	})
	look, err := redisstore.New(redisstore.Config{Address: f.redis, Prefix: "pointsman/"})
	if err != nil {
		f.t.Fatal(err)
	}
	defer look.Close()
	f.t.Logf("the flushed store held the overrides again after %s more", await(f.t, 10*time.Second,
		"the store holds both again", func() bool {
			list, err := look.List(ctx, "overrides/")
			return err == nil && len(list) >= 2
		}))
	if st, err := a.api.PurgeStatus(ctx, p.ID, 0); err != nil || !st.Final {
		f.t.Errorf("a forgot its purge: %+v, %v", st, err)
	}
}

// TestANodeThatDiesForgetsNoPurgeThatItAccepted: with the provider hanging, purges are accepted
// on one node and seen by the other; the first is killed and started again. (That the other
// takes them over when it stays away is in takeover_test.go: here that takes 90 s.)
func TestANodeThatDiesForgetsNoPurgeThatItAccepted(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	redis(t, f.redis, "")
	a, b := f.prepare("a", 1), f.prepare("b", 2)
	a.start()
	b.start()
	f.shut()
	var ids, items []string
	for i := range 12 {
		items = append(items, fmt.Sprintf("item-%d", i))
		p, err := a.api.Purge(t.Context(), api.Purge{Kind: "tag", Items: items[i:]}, "")
		if err != nil || p.Durability != "replicated" {
			t.Fatalf("%+v, %v", p, err)
		}
		ids = append(ids, p.ID)
	}
	for _, id := range ids {
		await(t, 3*time.Second, "b knows the purge", func() bool {
			st, err := b.api.PurgeStatus(t.Context(), id, 0)
			return err == nil && st.AcceptedBy == "a" && !st.Final
		})
	}
	t.Logf("b listed all of them after %s", await(t, 5*time.Second, "b lists them", func() bool {
		return strings.Count(b.cli(0, "purge", "list"), "pending") == len(ids)
	}))
	a.kill()
	f.open()
	began := time.Now()
	a.start()
	for _, id := range ids {
		await(t, 20*time.Second, "b knows the end", func() bool {
			st, err := b.api.PurgeStatus(t.Context(), id, 0)
			return err == nil && st.Final && st.Outcome == "done"
		})
	}
	t.Logf("killed with %d purges accepted, all were done %s after the new start", len(ids),
		time.Since(began))
	for _, item := range items {
		if !f.purged(item) {
			t.Errorf("%s was never purged", item)
		}
	}
}
