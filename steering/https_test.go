package steering_test

import (
	"strings"
	"testing"

	"pointsman/steering"
)

// bound returns a spec whose backend "edge" has a service binding.
func bound(h *steering.HTTPS) *steering.Spec {
	return spec(func(s *steering.Spec) {
		for i := range s.Backends {
			if s.Backends[i].Name == "edge" {
				s.Backends[i].HTTPS = h
			}
		}
	})
}

func TestADecisionCarriesTheServiceBindingOfItsBackend(t *testing.T) {
	h := &steering.HTTPS{Priority: 2, ALPN: []string{"h2"}, Port: 8443, Hints: true}
	table := compile(t, steering.Inputs{Spec: bound(h),
		Overrides: []steering.Override{override(steering.Pin, "edge")}})
	d, ok := table.Pick(steering.Query{Host: host})
	if !ok || d.Backend != "edge" || !d.HTTPS.Equal(h) {
		t.Errorf("got %+v", d)
	}
	for _, d := range table.Variants(host) {
		if (d.HTTPS != nil) != (d.Backend == "edge") {
			t.Errorf("variant %+v", d)
		}
	}
}

func TestTheHashFollowsEveryPartOfAServiceBinding(t *testing.T) {
	hashes := map[string]int{}
	for i, h := range []*steering.HTTPS{nil, {Priority: 1}, {Priority: 2}, {Priority: 1, Port: 1},
		{Priority: 1, Hints: true}, {Priority: 1, ALPN: []string{"h2"}},
		{Priority: 1, ALPN: []string{"h2", "h3"}}, {Priority: 1, ALPN: []string{"h3", "h2"}}} {
		hash := compile(t, steering.Inputs{Spec: bound(h),
			Overrides: []steering.Override{override(steering.Pin, "edge")}}).Hash
		if j, twice := hashes[hash]; twice {
			t.Errorf("bindings %d and %d have one hash", j, i)
		}
		hashes[hash] = i
	}
}

func TestServiceBindingsThatMeanNothingAreRefused(t *testing.T) {
	for want, h := range map[string]steering.HTTPS{
		"priority 0":      {},
		"is no protocol":  {Priority: 1, ALPN: []string{""}},
		"is listed twice": {Priority: 1, ALPN: []string{"h2", "h2"}},
		`"` + "xxxxx":     {Priority: 1, ALPN: []string{strings.Repeat("x", 256)}},
	} {
		s := bound(&h)
		_, err := steering.Compile(steering.Inputs{Version: 1, Spec: s})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", h, err, want)
		}
	}
}
