package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin/api"
)

func TestAnOverrideSaysWhoKnowsOfIt(t *testing.T) {
	o := api.Override{ID: "ov-1", Kind: "drain", Backend: "a", Expires: time.Now().Add(time.Hour)}
	local, unsaved := o, o
	local.Local = true
	unsaved.Local, unsaved.Unsaved = true, true
	for want, o := range map[string]api.Override{
		"": o, "on this node only, shared when it returns": local, "a restart": unsaved,
	} {
		var out bytes.Buffer
		if err := printOverride(&out, o); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n"); !strings.Contains(out.String(), want) ||
			lines != map[bool]int{true: 1, false: 2}[want == ""] {
			t.Errorf("want %q, got\n%s", want, out.String())
		}
	}
	var out bytes.Buffer
	if err := writeOverrides(&out, time.Now(), []api.Override{o, local, unsaved}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drain (this node only) ", "drain (not saved) "} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("want one %q in\n%s", want, out.String())
		}
	}
}

func TestABackendUnderAnOverrideSaysSoFirst(t *testing.T) {
	s := api.Status{
		Hosts: []api.HostStatus{
			{Host: "cdn.test", Backends: []api.BackendShare{{Backend: "a"}, {Backend: "b"}, {Backend: "c"}}},
			{Host: "img.test", Backends: []api.BackendShare{{Backend: "b"}, {Backend: "c"}}}},
		Overrides: []api.Override{{Kind: "drain", Backend: "a"}, {Kind: "drain", Backend: "a"},
			{Kind: "pin", Backend: "b", Host: "cdn.test"}, {Kind: "weight", Backend: "a", Weight: 5}},
	}
	for _, name := range []string{"a", "b", "c"} {
		s.Backends = append(s.Backends, api.Backend{Name: name, State: "healthy", Reason: "3 successes"})
	}
	var why []string
	for _, b := range backendsOf(s) {
		why = append(why, b.why)
	}
	want := []string{"drained, weight 5; 3 successes", "pinned; 3 successes", "3 successes",
		"3 successes", "3 successes"}
	if diff := cmp.Diff(want, why); diff != "" {
		t.Errorf("the demo's screen (-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	if err := writeStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	for _, text := range want {
		if !strings.Contains(out.String(), " "+text+"\n") {
			t.Errorf("want %q in\n%s", text, out.String())
		}
	}
}
