package admin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
	"pointsman/internal/secret"
	"pointsman/steering"
)

const drainA = `{"kind":"drain","backend":"a","reason":"vendor works","for":"30m"}`

func TestAnOverrideIsPutInForceAndEnded(t *testing.T) {
	n := newNode(t)
	o := get[api.Override](n, "POST", "/v1/overrides", drainA, eve...)
	if o.ID == "" || o.Actor != "eve@laptop" || o.Kind != "drain" || o.Local ||
		time.Until(o.Expires).Round(time.Minute) != 30*time.Minute {
		t.Errorf("it was taken as %+v", o)
	}
	eventually(t, "the drain", func() bool {
		st := get[api.Status](n, "GET", "/v1/status", "")
		return len(st.Overrides) == 1 && st.Hosts[0].Backends[0].Target == 0
	})
	ended := get[api.Override](n, "DELETE", "/v1/overrides/"+o.ID, "")
	if ended.ID != o.ID {
		t.Errorf("ended was %+v", ended)
	}
	eventually(t, "the end of the drain", func() bool {
		return get[api.Status](n, "GET", "/v1/status", "").Hosts[0].Backends[0].Target == 0.7
	})
	if a := n.do("DELETE", "/v1/overrides/"+o.ID, ""); a.status != 404 {
		t.Errorf("ending it twice: %d", a.status)
	}
	want := []string{"eve@laptop drain a", "anonymous undo drain a"}
	if diff := cmp.Diff(want, n.actions()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

func TestAnOverrideThatWouldDoNothingIsRefused(t *testing.T) {
	n := newNode(t)
	for name, c := range map[string]struct{ body, want string }{
		"a typo in the backend": {`{"kind":"drain","backend":"aa","reason":"r"}`,
			`no backend is named "aa"`},
		"a host that is not steered": {`{"kind":"drain","backend":"a","host":"www.example.test","reason":"r"}`,
			`host "www.example.test" is not steered, did you mean`},
		"a backend of another host": {`{"kind":"pin","backend":"c","host":"cdn.example.test","reason":"r"}`,
			`no pool of host "cdn.example.test." has backend "c"`},
		"no duration":    {`{"kind":"drain","backend":"a","reason":"r","for":"soon"}`, `"soon"`},
		"a negative one": {`{"kind":"drain","backend":"a","reason":"r","for":"-5m"}`, `"-5m"`},
		"an end in the past": {`{"kind":"drain","backend":"a","reason":"r","expires":"2020-01-01T00:00:00Z"}`,
			""},
	} {
		t.Run(name, func(t *testing.T) {
			a := n.do("POST", "/v1/overrides", c.body)
			p := a.problem(t)
			if a.status/100 == 2 || !strings.Contains(p.Detail, c.want) {
				t.Errorf("got %d %s, want a refusal with %s", a.status, a.body, c.want)
			}
		})
	}
}

func TestAHostIsRecognisedHoweverItIsWritten(t *testing.T) {
	n := newNode(t)
	o := get[api.Override](n, "POST", "/v1/overrides",
		`{"kind":"weight","backend":"a","host":"CDN.Example.Test.","weight":5,"reason":"r","for":"1h"}`)
	if o.Host != "cdn.example.test" || o.Weight != 5 {
		t.Errorf("it was taken as %+v", o)
	}
}

// book is a book of overrides that a test looks into.
type book struct {
	before func() error
	taken  []steering.Override
}

func (b *book) Add(_ context.Context, o steering.Override) (steering.Override, error) {
	if err := b.before(); err != nil {
		return steering.Override{}, err
	}
	o.ID = "ov-1"
	b.taken = append(b.taken, o)
	return o, nil
}

func (b *book) Remove(context.Context, string, string) error {
	b.taken = nil
	return b.before()
}

func (b *book) Active(time.Time) []steering.Override { return b.taken }

func TestAnActIsRecordedBeforeItIsDone(t *testing.T) {
	var n *node
	var at [][]string
	b := &book{before: func() error { at = append(at, n.actions()); return nil }}
	n = newNode(t, func(c *admin.Config) { c.Overrides = b })
	get[api.Override](n, "POST", "/v1/overrides", drainA, eve...)
	get[api.Override](n, "DELETE", "/v1/overrides/ov-1", "")
	want := [][]string{{"eve@laptop drain a"}, {"eve@laptop drain a", "anonymous undo drain a"}}
	if diff := cmp.Diff(want, at); diff != "" {
		t.Errorf("recorded by then (-want +got):\n%s", diff)
	}
}

func TestWhatTheBookSaysReachesTheClient(t *testing.T) {
	var says error
	b := &book{before: func() error { return says }}
	n := newNode(t, func(c *admin.Config) { c.Overrides = b })
	for _, c := range []struct {
		err    error
		status int
	}{
		{&api.Problem{Status: 400, Title: "Bad Request", Code: "bad-request"}, 400},
		{&api.Problem{Status: 503, Title: "Service Unavailable", Code: "unavailable"}, 503},
		{context.DeadlineExceeded, 503}, {errors.New("a bug"), 500},
	} {
		says = c.err
		a := n.do("POST", "/v1/overrides", drainA, eve...)
		if a.problem(t); a.status != c.status {
			t.Errorf("%v became %d %s", c.err, a.status, a.body)
		}
	}
}

func TestWithoutAnAuditLogOnlyEmergencySwitchesPass(t *testing.T) {
	n := newNode(t)
	o := get[api.Override](n, "POST", "/v1/overrides", drainA, eve...)
	n.store.Down(true)
	if got := get[api.Reloaded](n, "POST", "/v1/reload", ""); !got.Changed {
		t.Errorf("the reload gave %+v", got)
	}
	for _, c := range []struct {
		method, path, body string
		passes             bool
	}{
		{"POST", "/v1/overrides", drainA, true},
		{"POST", "/v1/overrides", strings.Replace(drainA, "drain", "pin", 1), true},
		{"DELETE", "/v1/overrides/" + o.ID, "", true},
		{"POST", "/v1/purges", `{"kind":"tag","items":["x"]}`, false},
		{"POST", "/v1/drills", `{"backend":"a","for":"10s","confirm":"a"}`, false},
	} {
		a := n.do(c.method, c.path, c.body)
		switch {
		case c.passes && a.status/100 != 2:
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		case !c.passes:
			if p := a.problem(t); a.status != 503 || p.Code != "unavailable" ||
				!strings.Contains(p.Detail, "audit") {
				t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
			}
		}
	}
	if n.provider.count() != 0 || len(get[[]api.Drill](n, "GET", "/v1/drills", "")) != 0 {
		t.Error("something was done all the same")
	}
	if !strings.Contains(n.log.String(), "audit log refused the write") {
		t.Error("the log does not say that acts went unrecorded")
	}
	for result, want := range map[string]int{"refused": 2, "done": 4} {
		line := fmt.Sprintf("pointsman_admin_unrecorded_total{result=%q} %d\n", result, want)
		if a := n.do("GET", "/metrics", ""); !strings.Contains(a.body, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	n.store.Down(false)
	if a := n.do("POST", "/v1/purges", `{"kind":"tag","items":["x"]}`); a.status != 202 {
		t.Errorf("with the log back a purge gets %d", a.status)
	}
}

func TestATokensNameCountsMoreThanWhatItsHolderSays(t *testing.T) {
	n := newNode(t, func(c *admin.Config) {
		c.Tokens = []admin.Token{{Name: "robot", Token: secret.New("t"),
			Scopes: []admin.Scope{"admin"}}}
	})
	auth := append([]string{"Authorization", "Bearer t"}, eve...)
	o := get[api.Override](n, "POST", "/v1/overrides", drainA, auth...)
	st := get[api.PurgeStatus](n, "POST", "/v1/purges", `{"kind":"tag","items":["x"]}`,
		auth...)
	if o.Actor != "robot" || st.Actor != "robot" {
		t.Errorf("the actors are %q and %q", o.Actor, st.Actor)
	}
	list := get[[]api.AuditEntry](n, "GET", "/v1/audit", "", auth...)
	if len(list) != 2 || list[0].Actor != "robot" || !strings.HasPrefix(list[0].From, "127.0.0.1:") {
		t.Errorf("recorded was %+v", list)
	}
}

func TestADrillIsStartedSeenAndStopped(t *testing.T) {
	n := newNode(t)
	d := get[api.Drill](n, "POST", "/v1/drills",
		`{"backend":"b","for":"1m","confirm":"b","reason":"quiet day"}`, eve...)
	if d.State != "running" || d.Backend != "b" || d.Actor != "eve@laptop" || len(d.Report) == 0 ||
		!strings.Contains(d.Markdown, "# Drill") {
		t.Errorf("it began as %+v", d)
	}
	st := get[api.Status](n, "GET", "/v1/status", "")
	if st.Drill == nil || st.Drill.ID != d.ID || len(st.Drill.Report) > 0 || st.Drill.Markdown != "" {
		t.Errorf("the status shows it as %+v", st.Drill)
	}
	if a := n.do("POST", "/v1/drills", `{"backend":"b","for":"1m","confirm":"b"}`); a.status != 409 {
		t.Errorf("a second one at once: %d %s", a.status, a.body)
	}
	get[api.Drill](n, "DELETE", "/v1/drills/"+d.ID, "")
	eventually(t, "the drill's end", func() bool {
		d = get[api.Drill](n, "GET", "/v1/drills/"+d.ID, "")
		return slices.Contains([]string{"done", "aborted", "failed"}, d.State)
	})
	if d.State != "aborted" && d.State != "failed" {
		t.Errorf("stopped, it ended %s", d.State)
	}
	list := get[[]api.Drill](n, "GET", "/v1/drills", "")
	if len(list) != 1 || list[0].ID != d.ID || list[0].Markdown != "" {
		t.Errorf("the list is %+v", list)
	}
	want := []string{"eve@laptop drill b", "anonymous drill b", "anonymous stop drill " + d.ID}
	if diff := cmp.Diff(want, n.actions()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

func TestANameThatIsNotSteeredIsToldWhichAre(t *testing.T) {
	n := newNode(t)
	a := n.do("GET", "/v1/explain?name=www.example.test&client=192.0.2.7", "")
	want := `"www.example.test" is not steered; steered are cdn.example.test, img.example.test`
	if p := a.problem(t); a.status != 404 || p.Detail != want {
		t.Errorf("got %d %s", a.status, p.Detail)
	}
}

func TestAnExplanationShowsStepsInputsAndTheirAges(t *testing.T) {
	n := newNode(t)
	get[api.Override](n, "POST", "/v1/overrides", drainA, eve...)
	eventually(t, "the drain", func() bool {
		return get[api.Status](n, "GET", "/v1/status", "").Hosts[0].Backends[0].Target == 0
	})
	for client, shown := range map[string]string{"": "127.0.0.1/32", "192.0.2.7": "192.0.2.7/32",
		"192.0.2.7/24": "192.0.2.0/24", "2001:db8::1": "2001:db8::1/128", "::ffff:192.0.2.7": "192.0.2.7/32"} {
		x := get[api.Explanation](n, "GET", "/v1/explain?name=CDN.example.test.&client="+client, "")
		if x.Client != shown || x.Backend != "b" || x.TTL != 20 || len(x.Steps) == 0 ||
			len(x.Shares) != 2 || cmp.Diff([]string{"CNAME b.cdn.test."}, x.Answer) != "" {
			t.Errorf("client %q: %+v", client, x)
		}
		text := ""
		for _, s := range x.Steps {
			for _, in := range s.Inputs {
				text += in.Name + "=" + in.Value + " " + in.Source + " " + in.At.String() + "\n"
			}
		}
		for _, want := range []string{"vendor works", "eve", "health a=healthy", "weight b=30"} {
			if !strings.Contains(text, want) {
				t.Errorf("client %q: no %q among\n%s", client, want, text)
			}
		}
	}
}
