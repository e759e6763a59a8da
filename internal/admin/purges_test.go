package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
)

func TestAPurgeIsAcceptedAndSeenThrough(t *testing.T) {
	n := newNode(t)
	st := get[api.PurgeStatus](n, "POST", "/v1/purges",
		`{"kind":"url","items":["https://cdn.example.test/a"],"reason":"r"}`, eve...)
	if st.ID == "" || st.Actor != "eve@laptop" || st.AcceptedBy != "n1" || st.Durability != "local" {
		t.Errorf("it was accepted as %+v", st)
	}
	st = get[api.PurgeStatus](n, "GET", "/v1/purges/"+st.ID+"?wait=10s", "")
	if !st.Final || st.Outcome != "done" || len(st.Deliveries) != 1 ||
		st.Deliveries[0].Provider != "acme" || st.Deliveries[0].Form != "exact" ||
		st.Deliveries[0].Ref != "r1" || st.Deliveries[0].Attempts != 1 {
		t.Errorf("it ended as %+v", st)
	}
	if list := get[[]api.PurgeStatus](n, "GET", "/v1/purges?limit=5", ""); len(list) != 1 ||
		list[0].ID != st.ID {
		t.Errorf("the list is %+v", list)
	}
	if diff := cmp.Diff([]string{"eve@laptop purge url https://cdn.example.test/a"}, n.actions()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if events, _ := n.events.After(0); len(events) == 0 || !strings.Contains(events[0].Message, st.ID) {
		t.Errorf("told was %+v", events)
	}
}

func TestAPurgeWarnsOfTagsThatAreNotPortable(t *testing.T) {
	n := newNode(t)
	st := get[api.PurgeStatus](n, "POST", "/v1/purges", `{"kind":"tag","items":["A,b","ok"]}`)
	if len(st.Warnings) != 2 || !strings.HasPrefix(st.Warnings[0], `tag "A,b": upper case: `) ||
		!strings.HasPrefix(st.Warnings[1], `tag "A,b": a comma: `) {
		t.Errorf("it warns %q", st.Warnings)
	}
	again := get[api.PurgeStatus](n, "GET", "/v1/purges/"+st.ID+"?wait=10s", "")
	if diff := cmp.Diff(st.Warnings, again.Warnings); diff != "" {
		t.Errorf("read again (-accepted +read):\n%s", diff)
	}
}

func TestEverythingIsPurgedOnlyWhenThatIsConfirmed(t *testing.T) {
	n := newNode(t)
	for _, body := range []string{`{"kind":"everything"}`, `{"kind":"everything","confirm":"yes"}`,
		`{"kind":"everything","confirm":"Everything"}`} {
		a := n.do("POST", "/v1/purges", body)
		if p := a.problem(t); a.status != 400 || !strings.Contains(p.Detail, "confirm") {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := n.do("POST", "/v1/purges", `{"kind":"everything","items":["x"],"confirm":"everything"}`); a.status != 400 {
		t.Errorf("everything with items: %d", a.status)
	}
	if n.provider.count() != 0 {
		t.Error("something was purged")
	}
	if a := n.do("POST", "/v1/purges", `{"kind":"everything","confirm":"everything"}`); a.status != 202 {
		t.Errorf("confirmed: %d %s", a.status, a.body)
	}
	eventually(t, "the purge", func() bool { return n.provider.count() == 1 })
}

func TestARepeatedKeyGivesTheFirstPurge(t *testing.T) {
	n := newNode(t)
	key := []string{"Idempotency-Key", "k1"}
	one := get[api.PurgeStatus](n, "POST", "/v1/purges", `{"kind":"tag","items":["x"]}`, key...)
	two := get[api.PurgeStatus](n, "POST", "/v1/purges", `{"kind":"tag","items":["x"]}`, key...)
	if one.ID != two.ID {
		t.Errorf("a repeat made %s and %s", one.ID, two.ID)
	}
	a := n.do("POST", "/v1/purges", `{"kind":"tag","items":["y"]}`, key...)
	if p := a.problem(t); a.status != 409 || p.Code != "conflict" {
		t.Errorf("the key for another purge: %d %s", a.status, a.body)
	}
}

func TestWaitingForAPurgeEndsWithTheWaitNotWithAnError(t *testing.T) {
	n := newNode(t)
	n.provider.mu.Lock() // the provider does not answer
	locked := true
	unlock := func() {
		if locked {
			n.provider.mu.Unlock()
			locked = false
		}
	}
	defer unlock()
	st := get[api.PurgeStatus](n, "POST", "/v1/purges", `{"kind":"tag","items":["x"]}`)
	began := time.Now()
	st = get[api.PurgeStatus](n, "GET", "/v1/purges/"+st.ID+"?wait=200ms", "")
	if took := time.Since(began); st.Final || st.Outcome != "pending" || took < 200*time.Millisecond ||
		took > 3*time.Second {
		t.Errorf("after %s it is %+v", took, st)
	}
	if st := get[api.PurgeStatus](n, "GET", "/v1/purges/"+st.ID+"?wait=soon", ""); st.Final {
		t.Errorf("an unreadable wait gives %+v", st)
	}
	unlock()
	if st = get[api.PurgeStatus](n, "GET", "/v1/purges/"+st.ID+"?wait=10s", ""); !st.Final {
		t.Errorf("with the provider back it is %+v", st)
	}
}

// TestAPurgeOfLongURLsIsRecordedShort: the audit log bounds its entries, and a purge that the
// journal takes must not be refused for the length of its items.
func TestAPurgeOfLongURLsIsRecordedShort(t *testing.T) {
	n := newNode(t)
	var items []string
	for i := range 5 {
		items = append(items, `"https://cdn.example.test/`+strings.Repeat("é", 1300)+
			string(rune('a'+i))+`"`)
	}
	a := n.do("POST", "/v1/purges", `{"kind":"url","items":[`+strings.Join(items, ",")+`]}`)
	if a.status != 202 {
		t.Fatalf("got %d %.300s", a.status, a.body)
	}
	got := n.actions()
	if len(got) != 1 || len(got[0]) > 3000 || !strings.HasSuffix(got[0], "… and 2 more") {
		t.Errorf("recorded was %.200s …", got)
	}
}

func TestTheProvidersAreListedWithWhatTheyCan(t *testing.T) {
	n := newNode(t)
	got := get[[]api.Provider](n, "GET", "/v1/providers", "")
	if len(got) != 1 || got[0].Name != "acme" || got[0].Vendor != "fake" ||
		!strings.Contains(string(got[0].Capabilities), `"native":true`) {
		t.Errorf("got %+v", got)
	}
}

func TestTheNodesOwnEdgeIsPurgedForItsProvider(t *testing.T) {
	n := newNode(t)
	got := get[api.EdgePurged](n, "POST", "/v1/edge/purge", `{"kind":"tag","items":["x"]}`)
	if got.Generation == 0 {
		t.Errorf("got %+v", got)
	}
	for _, body := range []string{`{"kind":"tag"}`, `{"kind":"url","items":[]}`,
		`{"kind":"url","items":["://"]}`, `{"kind":"everything","items":["x"]}`} {
		if a := n.do("POST", "/v1/edge/purge", body); a.status != 400 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := n.do("POST", "/v1/edge/purge", `{"kind":"everything"}`); a.status != 200 {
		t.Errorf("everything: %d %s", a.status, a.body)
	}
}

func TestARefusedReloadListsItsFindings(t *testing.T) {
	var says error
	n := newNode(t, func(c *admin.Config) {
		c.Reload = func(context.Context) (api.Reloaded, error) {
			return api.Reloaded{ConfigHash: "h", Changed: true}, says
		}
	})
	if got := get[api.Reloaded](n, "POST", "/v1/reload", ""); got.ConfigHash != "h" || !got.Changed {
		t.Errorf("got %+v", got)
	}
	says = &api.Problem{Title: "Config refused", Status: 409, Code: "refused",
		Findings: []string{"p.yaml:3:1: x: unknown key"}}
	a := n.do("POST", "/v1/reload", "")
	if p := a.problem(t); a.status != 409 || len(p.Findings) != 1 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	says = errors.New("a bug")
	if a := n.do("POST", "/v1/reload", ""); a.status != 500 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}
