package admin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
)

// eve is a caller without a token that says who it is.
var eve = []string{api.ActorHeader, "eve@laptop"}

func TestEveryActIsRecordedUnderTheNameThatTheClientSays(t *testing.T) {
	n := newNode(t)
	c, err := api.New(api.Config{BaseURL: n.base, Actor: "eve@laptop", HTTPClient: n.client})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o, err := c.AddOverride(ctx, api.Override{Kind: "drain", Backend: "a", Reason: "r", For: "1m"})
	check(err)
	check(c.RemoveOverride(ctx, o.ID))
	p, err := c.Purge(ctx, api.Purge{Kind: "tag", Items: []string{"x"}}, "")
	check(err)
	_, _ = c.RetryPurge(ctx, p.ID) // there may be nothing to retry, which is recorded too
	_, err = c.Reload(ctx)
	check(err)
	d, err := c.StartDrill(ctx, api.DrillRequest{Backend: "b", For: "1m", Confirm: "b"})
	check(err)
	_, err = c.StopDrill(ctx, d.ID)
	check(err)
	var got []string
	for _, act := range n.actions() {
		who, what, _ := strings.Cut(act, " ")
		if who != "eve@laptop" {
			t.Errorf("%s is recorded of %s", what, who)
		}
		got = append(got, what)
	}
	want := []string{"drain a", "undo drain a", "purge tag x", "retry purge " + p.ID,
		"reload config", "drill b", "stop drill " + d.ID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if o.Actor != "eve@laptop" || p.Actor != "eve@laptop" || d.Actor != "eve@laptop" {
		t.Errorf("acted have %q, %q and %q", o.Actor, p.Actor, d.Actor)
	}
	eventually(t, "the drill's end", func() bool {
		d, err = c.Drill(ctx, d.ID)
		return err == nil && strings.Contains(d.Message, "stopped by eve@laptop")
	})
}

func TestAnActorIsBoundedAndPrintable(t *testing.T) {
	n := newNode(t)
	for said, want := range map[string]string{
		"":                             "anonymous",
		"  ":                           "anonymous",
		"eve":                          "eve",
		"josé@büro":                    "josé@büro",
		"eve\tand \u202eadam":          "eveand adam",
		"eve\xff":                      "eve",
		strings.Repeat("x", 500):       strings.Repeat("x", 200),
		strings.Repeat("é", 500):       strings.Repeat("é", 100),
		"x" + strings.Repeat("é", 500): "x" + strings.Repeat("é", 99),
	} {
		o := get[api.Override](n, "POST", "/v1/overrides", drainA, api.ActorHeader, said)
		if o.Actor != want {
			t.Errorf("who says %q acted as %q, want %q", said, o.Actor, want)
		}
	}
	for _, said := range []string{"eve\r\nX-Evil: 1", "\x00", strings.Repeat("é", 500)} {
		c, err := api.New(api.Config{BaseURL: n.base, Actor: said, HTTPClient: n.client})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Reload(t.Context()); err != nil {
			t.Errorf("with the actor %q: %v", said, err)
		}
	}
}

func TestWhoeverMistypesANameIsToldTheOneThatWasMeant(t *testing.T) {
	n := newNode(t, func(c *admin.Config) {
		info := c.Info
		c.Info = func() admin.Info {
			i := info()
			i.Answers["charlie"] = "charlie.cdn.test"
			return i
		}
	})
	for _, c := range []struct{ path, body, want string }{
		{"overrides", `{"kind":"drain","backend":"charly","reason":"r","for":"1m"}`,
			`no backend is named "charly", did you mean charlie?`},
		{"overrides", `{"kind":"pin","backend":"nope","reason":"r","for":"1m"}`,
			`no backend is named "nope"; there are a, b, c, charlie`},
		{"overrides", `{"kind":"weight","backend":"a","host":"cdn.exmaple.test","reason":"r","for":"1m"}`,
			`host "cdn.exmaple.test" is not steered, did you mean cdn.example.test?`},
		{"overrides", `{"kind":"drain","backend":"a","host":"shop.test","reason":"r","for":"1m"}`,
			`host "shop.test" is not steered; there are cdn.example.test, img.example.test`},
		{"drills", `{"backend":"charly","for":"1m","confirm":"charly"}`,
			`no backend is named "charly", did you mean charlie?`},
		{"drills", `{"backend":"nope","for":"1m","confirm":"nope"}`,
			`no backend is named "nope"; there are a, b, c, charlie`},
	} {
		a := n.do("POST", "/v1/"+c.path, c.body)
		if p := a.problem(t); a.status != 400 || p.Detail != c.want {
			t.Errorf("%s: got %d %s, want %s", c.body, a.status, p.Detail, c.want)
		}
	}
	if acts := n.actions(); len(acts) > 0 {
		t.Errorf("recorded was %v", acts)
	}
}
