package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

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
