package purge_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/providers"
	"pointsman/purge"
)

// limited is a provider with some kinds alone.
func limited(name string, batch int, soft bool, kinds ...providers.Kind) *cdn {
	c := &cdn{name: name, caps: providers.Capabilities{
		Kinds: map[providers.Kind]providers.Capability{}}}
	for _, k := range kinds {
		c.caps.Kinds[k] = providers.Capability{Native: true, Soft: soft, MaxBatch: batch}
	}
	return c
}

func TestPlanTakesTheNarrowestFormThatTheOperatorAllows(t *testing.T) {
	some := []string{"a", "b", "c"}
	cases := []struct {
		name   string
		req    purge.Request
		target purge.Target
		want   purge.Planned // Reason is a part of the real one
	}{
		{"native is exact, cut to the most that one call takes",
			purge.Request{Kind: providers.Tag, Items: some},
			purge.Target{Provider: limited("p", 2, false, providers.Tag)},
			purge.Planned{Form: purge.Exact, Kind: providers.Tag,
				Batches: []purge.Cut{{From: 0, To: 2}, {From: 2, To: 3}}}},
		{"everything is one call without items",
			purge.Request{Kind: providers.Everything},
			purge.Target{Provider: limited("p", 1, false, providers.Everything)},
			purge.Planned{Form: purge.Exact, Kind: providers.Everything,
				Batches: []purge.Cut{{}}}},
		{"a prefix is widened where that is allowed",
			purge.Request{Kind: providers.Prefix, Items: some},
			purge.Target{AllowWiden: true,
				Provider: limited("p", 1, false, providers.Everything, providers.URL)},
			purge.Planned{Form: purge.Widened, Kind: providers.Everything,
				Reason: "everything was purged", Batches: []purge.Cut{{}}}},
		{"a prefix is not widened where that is not allowed",
			purge.Request{Kind: providers.Prefix, Items: some},
			purge.Target{Provider: limited("p", 1, false, providers.Everything, providers.URL)},
			purge.Planned{Form: purge.FormUnsupported, Kind: providers.Prefix,
				Reason: "allow_widen: true"}},
		{"a tag is never widened",
			purge.Request{Kind: providers.Tag, Items: some},
			purge.Target{AllowWiden: true,
				Provider: limited("p", 1, false, providers.Everything, providers.URL)},
			purge.Planned{Form: purge.FormUnsupported, Kind: providers.Tag,
				Reason: "purge by url, everything"}},
		{"a host is a prefix where the provider has those",
			purge.Request{Kind: providers.Host, Items: some},
			purge.Target{AllowWiden: true,
				Provider: limited("p", 5, false, providers.Everything, providers.Prefix)},
			purge.Planned{Form: purge.Exact, Kind: providers.Prefix, Reason: "as the prefix",
				Batches: []purge.Cut{{From: 0, To: 3}}}},
		{"a provider without any purge is told so",
			purge.Request{Kind: providers.URL, Items: some},
			purge.Target{AllowWiden: true, Provider: limited("p", 5, false)},
			purge.Planned{Form: purge.FormUnsupported, Kind: providers.URL,
				Reason: "no purge at all"}},
		{"soft stays soft where the provider has it",
			purge.Request{Kind: providers.Tag, Items: some, Soft: true},
			purge.Target{Provider: limited("p", 5, true, providers.Tag)},
			purge.Planned{Form: purge.Exact, Kind: providers.Tag, Soft: true,
				Batches: []purge.Cut{{From: 0, To: 3}}}},
		{"soft falls back to hard, and says so",
			purge.Request{Kind: providers.Tag, Items: some, Soft: true},
			purge.Target{Provider: limited("p", 5, false, providers.Tag)},
			purge.Planned{Form: purge.Exact, Kind: providers.Tag, Reason: "purged hard",
				Batches: []purge.Cut{{From: 0, To: 3}}}},
		{"soft is refused where the config says so",
			purge.Request{Kind: providers.Tag, Items: some, Soft: true},
			purge.Target{SoftFallback: purge.SoftRefuse,
				Provider: limited("p", 5, false, providers.Tag)},
			purge.Planned{Form: purge.FormUnsupported, Kind: providers.Tag,
				Reason: "soft_fallback: hard"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := purge.Plan(c.req, []purge.Target{c.target})
			if len(got) != 1 {
				t.Fatalf("planned %+v", got)
			}
			if !strings.Contains(got[0].Reason, c.want.Reason) ||
				(c.want.Reason == "") != (got[0].Reason == "") {
				t.Errorf("reason %q, want one with %q", got[0].Reason, c.want.Reason)
			}
			c.want.Provider, c.want.Reason = "p", got[0].Reason
			if d := cmp.Diff(c.want, got[0]); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestPlanAsksOnlyTheNamedProviders(t *testing.T) {
	targets := []purge.Target{{Provider: newCDN("x")}, {Provider: newCDN("y")}}
	all := purge.Plan(tags("a"), targets)
	if len(all) != 2 || all[0].Provider != "x" || all[1].Provider != "y" {
		t.Errorf("without names: %+v", all)
	}
	req := tags("a")
	req.Providers = []string{"y"}
	if one := purge.Plan(req, targets); len(one) != 1 || one[0].Provider != "y" {
		t.Errorf("with one name: %+v", one)
	}
}
