package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pointsman/internal/admin/api"
)

// TestTwoNodesShareWhatTheyKnowAndGoOnWithoutTheirStore runs two nodes, each with an edge, on
// one Redis that goes away and comes back empty.
func TestTwoNodesShareWhatTheyKnowAndGoOnWithoutTheirStore(t *testing.T) {
	t.Parallel()
	l := newLane()
	port := l.port(t)
	store := l.addr(20, port)
	redis := startRedis(t, store)
	for n := 11; n <= 13; n++ {
		startSite(t, l.addr(n, port))
	}
	origin := startSite(t, l.addr(15, port))
	one, two := newPlainOf(t, "one", l, port, 1), newPlainOf(t, "two", l, port, 2)
	var nodes []*node
	for _, p := range []*plain{one, two} {
		p.providers = fmt.Sprintf("providers:\n  - {name: fleet, kind: edge, nodes: "+
			"[\"http://%s\", \"http://%s\"]}\n", one.admin, two.admin)
		p.configure(t, redisAt(store))
		n := p.serve(t)
		n.ready(t)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.healthy(t, "alpha", "bravo", "charlie")
	}
	watchers := []*watcher{watch(t, one.dns, one.as), watch(t, two.dns, two.as)}

	// Each node takes the other's overrides over, and ends them.
	drain := nodes[0].override(t, api.Override{Kind: "drain", Backend: "bravo", Reason: "slow", For: "1h"})
	t.Logf("a drain came to the other node in %v", await(t, 3*time.Second, "two drains bravo, too",
		func() bool { return burst(t, two.dns, two.as, 20)["bravo"] == 0 }))
	await(t, 3*time.Second, "two knows the drain", func() bool {
		_, ok := nodes[1].overrides(t)[drain]
		return ok
	})
	nodes[1].undo(t, drain)
	await(t, 3*time.Second, "one has bravo back",
		func() bool { return burst(t, one.dns, one.as, 20)["bravo"] > 0 })

	// A purge on one node is a purge of both edges, and known to both.
	for _, p := range []*plain{one, two} {
		if got := lasting(p.edge); got != "edition 0" {
			t.Fatalf("the edge of %s says %q", p.name, got)
		}
	}
	origin.edition.Store(1)
	if got := lasting(two.edge); got != "edition 0" {
		t.Fatalf("the edge does not keep its page: %q", got)
	}
	id := purge(t, nodes[0], "http://cdn.example.test/lasting")
	for _, p := range []*plain{one, two} {
		if got := lasting(p.edge); got != "edition 1" {
			t.Errorf("after the purge the edge of %s says %q", p.name, got)
		}
	}
	await(t, 5*time.Second, "two knows the purge", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s, err := nodes[1].api.PurgeStatus(ctx, id, 0)
		return err == nil && s.Final
	})

	// Without the store both go on, and take overrides that hold on them alone.
	redis.kill()
	alone := []string{}
	for i, backend := range []string{"alpha", "charlie"} {
		alone = append(alone, nodes[i].override(t, api.Override{Kind: "drain", Backend: backend,
			Reason: "alone", For: "1h"}))
	}
	await(t, 3*time.Second, "each drains its own", func() bool {
		a, b := burst(t, one.dns, one.as, 20), burst(t, two.dns, two.as, 20)
		return a["alpha"] == 0 && a["charlie"] > 0 && b["charlie"] == 0 && b["alpha"] > 0
	})
	if o := nodes[0].overrides(t)[alone[0]]; !o.Local {
		t.Errorf("the drain is not marked as local: %+v", o)
	}
	await(t, 5*time.Second, "the loss shows", func() bool {
		s, ok := nodes[0].status()
		return ok && !s.Store.Reachable
	})

	// It comes back with nothing in it: what the nodes know fills it again.
	startRedis(t, store)
	t.Logf("both knew both drains %v after the store came back empty", await(t, 10*time.Second,
		"both know both", func() bool {
			a, b := burst(t, one.dns, one.as, 20), burst(t, two.dns, two.as, 20)
			return a["bravo"] == 20 && b["bravo"] == 20
		}))
	for _, n := range nodes {
		if o, ok := n.overrides(t)[drain]; ok {
			t.Errorf("an override that was ended is back: %+v", o)
		}
	}
	for i, n := range nodes {
		watchers[i].end()
		if took := n.stop(t, 10*time.Second); took > 5*time.Second {
			t.Errorf("node %d took %v to stop", i+1, took)
		}
	}
}

// lasting gets the page that lasts from an edge.
func lasting(edge string) string {
	return download("http://"+edge+"/lasting", make(chan struct{}))
}

// purge purges a URL and returns the purge's ID.
func purge(t *testing.T, n *node, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := n.api.Purge(ctx, api.Purge{Kind: "url", Items: []string{url}, Reason: "test"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err = n.api.PurgeStatus(ctx, s.ID, 10*time.Second); err != nil || !s.Final {
		t.Fatalf("the purge did not end: %+v, %v", s, err)
	}
	t.Logf("the purge ended %s: %+v", s.Outcome, s.Deliveries)
	return s.ID
}
