package dnsserver_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/control"
)

func TestAServerKnowsWhoAskedOverEachTransport(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := example(t, pointer(compile(t, 1, 1, 1)))
	cfg.Weighs = func(host string) bool { return host == "cdn.example.test." }
	cfg.Registerer = reg
	s := start(t, cfg)
	if got := s.Loads(); len(got) != 0 {
		t.Errorf("before anybody asked the loads are %+v", got)
	}
	query(t, s, "udp", "cdn.example.test.", "A")
	query(t, s, "tcp", "cdn.example.test.", "A")
	query(t, s, "udp", "example.test.", "SOA")
	used := func() bool { // without Loads: what runs takes the lookups
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "pointsman_dnsserver_weighed_prefixes" {
				return f.GetMetric()[0].GetGauge().GetValue() == 1
			}
		}
		return false
	}
	for deadline := time.Now().Add(5 * time.Second); !used(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody was weighed")
		}
	}
	got := s.Loads()
	if len(got) != 1 || len(got[0].Resolvers) != 1 || !(got[0].Total > 0) {
		t.Fatalf("the loads are %+v", got)
	}
	want := control.Scope{Host: "cdn.example.test."}
	if diff := cmp.Diff(want, got[0].Scope); diff != "" {
		t.Error(diff)
	}
	if p := got[0].Resolvers[0].Prefix.String(); p != "127.0.0.1/32" {
		t.Errorf("the resolver is %s", p)
	}
	other := example(t, pointer(compile(t, 1, 1, 1)))
	if got := start(t, other).Loads(); got != nil {
		t.Errorf("a server that weighs nothing has loads %+v", got)
	}
}
