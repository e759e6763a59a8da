package providertest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/providers"
	"pointsman/providers/providertest"
)

const (
	token   = "s3cr3t-value"
	service = "SU1Z0isxPaozGVKXdv0eY"
	zone    = "023e105f4ecef8ad9ca31a8372d0c353"
)

// request is one raw request and what must become of it.
type request struct {
	name   string
	method string // empty means POST
	path   string
	header map[string]string
	body   string
	status int
	words  string // in the answer's body
}

// fake is what the fakes have in common.
type fake interface {
	http.Handler
	Applied() []providertest.Applied
}

// run sends requests and holds each refused one to no effect, each taken one to exactly one.
func run(t *testing.T, f fake, common map[string]string, requests []request) {
	t.Helper()
	for _, c := range requests {
		before := len(f.Applied())
		w := send(f, common, c)
		effects := len(f.Applied()) - before
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) {
			t.Errorf("%s: %d %s: want %d with %q", c.name, w.Code, w.Body, c.status, c.words)
		}
		if taken := c.status == http.StatusOK; effects != map[bool]int{true: 1}[taken] {
			t.Errorf("%s: %d effects with status %d", c.name, effects, w.Code)
		}
	}
}

func send(h http.Handler, common map[string]string, c request) *httptest.ResponseRecorder {
	if c.method == "" {
		c.method = http.MethodPost
	}
	r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
	for _, headers := range []map[string]string{common, c.header} {
		for k, v := range headers {
			r.Header.Set(k, v)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheFakeFastlyIsStrict(t *testing.T) {
	f := providertest.NewFastly(providertest.FastlyConfig{Token: token, ServiceID: service})
	const batch = "/service/" + service + "/purge"
	json := map[string]string{"Content-Type": "application/json"}
	header := func(k, v string) map[string]string { return map[string]string{k: v} }
	keys := func(n int) string { return strings.Repeat("k ", n) }
	run(t, f, header("Fastly-Key", token), []request{
		{name: "a URL", path: "/purge/www.example.com/a?b=c", status: 200, words: `"status":"ok"`},
		{name: "a URL with a scheme", path: "/purge/http://www.example.com/a", status: 200},
		{name: "one key", path: batch + "/a%2Fb", status: 200, words: `"id":"4151-`},
		{name: "keys in the header", path: batch, header: header("Surrogate-Key", "a b"),
			status: 200, words: `"a":"4151-`},
		{name: "keys in the body", path: batch, header: json, body: `{"surrogate_keys":["a"]}`,
			status: 200},
		{name: "everything", path: batch + "_all", status: 200, words: `{"status":"ok"}`},
		{name: "no token", path: batch + "_all", header: header("Fastly-Key", ""), status: 401},
		{name: "a wrong token", path: batch + "_all", header: header("Fastly-Key", "x"), status: 401},
		{name: "another service", path: "/service/abc/purge_all", status: 404,
			words: "Record not found"},
		{name: "no such path", path: "/service/" + service, status: 404},
		{name: "GET", method: "GET", path: batch + "_all", status: 405},
		{name: "a wildcard", path: "/purge/www.example.com/*", status: 400},
		{name: "an upper-case host", path: "/purge/WWW.example.com/", status: 400},
		{name: "a URL that climbs", path: "/purge/www.example.com/../x", status: 400},
		{name: "a body with a URL", path: "/purge/www.example.com/", body: "{}", status: 400},
		{name: "a body with everything", path: batch + "_all", body: "{}", status: 400},
		{name: "no keys", path: batch, status: 400},
		{name: "an empty list", path: batch, header: json, body: `{"surrogate_keys":[]}`,
			status: 400},
		{name: "an unknown field", path: batch, header: json,
			body: `{"surrogate_keys":["a"],"soft":true}`, status: 400, words: "soft"},
		{name: "two values", path: batch, header: json, body: `{"surrogate_keys":["a"]}{}`,
			status: 400},
		{name: "no content type", path: batch, body: `{"surrogate_keys":["a"]}`, status: 400},
		{name: "keys in both places", path: batch, body: `{"surrogate_keys":["a"]}`,
			header: map[string]string{"Content-Type": "application/json", "Surrogate-Key": "b"},
			status: 400},
		{name: "256 keys", path: batch, header: header("Surrogate-Key", keys(256)), status: 200},
		{name: "257 keys", path: batch, header: header("Surrogate-Key", keys(257)), status: 400},
		{name: "a key of 1024 bytes", path: batch + "/" + strings.Repeat("k", 1024), status: 400,
			words: "must be less than 1024 bytes"},
		{name: "a key with a space", path: batch + "/a%20b", status: 400},
		{name: "another soft", path: batch + "/a", header: header("Fastly-Soft-Purge", "true"),
			status: 400},
	})
}

func TestTheFakeFastlySaysWhatItDid(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	f := providertest.NewFastly(providertest.FastlyConfig{Token: token, ServiceID: service,
		Scheme: "http", Now: func() time.Time { return now }})
	soft := map[string]string{"Fastly-Key": token, "Fastly-Soft-Purge": "1"}
	for _, path := range []string{"/purge/e.example/a?b", "/purge/https://e.example/",
		"/service/" + service + "/purge/k", "/service/" + service + "/purge_all"} {
		if w := send(f, soft, request{path: path}); w.Code != 200 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	want := []providertest.Applied{
		{Kind: providers.URL, Items: []string{"http://e.example/a?b"}, Soft: true, At: now},
		{Kind: providers.URL, Items: []string{"https://e.example/"}, Soft: true, At: now},
		{Kind: providers.Tag, Items: []string{"k"}, Soft: true, At: now},
		{Kind: providers.Everything, At: now}, // the real one ignores the header here
	}
	if d := cmp.Diff(want, f.Applied()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTheFakeCloudflareIsStrict(t *testing.T) {
	f := providertest.NewCloudflare(providertest.CloudflareConfig{
		Token: token, ZoneID: zone, Plan: providertest.Business,
	})
	const path = providertest.CloudflareBase + "/zones/" + zone + "/purge_cache"
	common := map[string]string{"Authorization": "Bearer " + token,
		"Content-Type": "application/json; charset=utf-8"}
	auth := func(v string) map[string]string { return map[string]string{"Authorization": v} }
	list := func(format string, n int) string {
		var items []string
		for i := range n {
			items = append(items, fmt.Sprintf(format, i))
		}
		return strings.Join(items, ",")
	}
	requests := []request{
		{name: "everything", body: `{"purge_everything":true}`, status: 200, words: `"id":"` + zone},
		{name: "files", body: `{"files":["https://e.example/a",` +
			`{"url":"https://e.example/b","headers":{"Origin":"https://e.example"}}]}`, status: 200},
		{name: "tags", body: `{"tags":["a","b"]}`, status: 200, words: `"success":true`},
		{name: "hosts", body: `{"hosts":["e.example"]}`, status: 200},
		{name: "prefixes", body: `{"prefixes":["e.example/a"]}`, status: 200},
		{name: "100 files", body: `{"files":[` + list(`"https://e.example/%d"`, 100) + `]}`,
			status: 200},
		{name: "101 files", body: `{"files":[` + list(`"https://e.example/%d"`, 101) + `]}`,
			status: 400},
		{name: "101 tags", body: `{"tags":[` + list(`"t%d"`, 101) + `]}`, status: 400},
		{name: "two kinds", body: `{"tags":["a"],"hosts":["e.example"]}`, status: 400,
			words: "1012"},
		{name: "no kind", body: `{}`, status: 400, words: "1012"},
		{name: "an unknown field", body: `{"tag":["a"]}`, status: 400, words: "tag"},
		{name: "everything, but false", body: `{"purge_everything":false}`, status: 400},
		{name: "everything as text", body: `{"purge_everything":"true"}`, status: 400},
		{name: "no array", body: `{"tags":"a"}`, status: 400, words: "1014"},
		{name: "null", body: `{"tags":null}`, status: 400, words: "1014"},
		{name: "numbers", body: `{"tags":[1]}`, status: 400},
		{name: "an empty list", body: `{"files":[]}`, status: 400},
		{name: "an unknown field of a file", body: `{"files":[{"uri":"x"}]}`, status: 400},
		{name: "a wildcard", body: `{"files":["https://e.example/*"]}`, status: 400},
		{name: "a path", body: `{"files":["/a.css"]}`, status: 400},
		{name: "a prefix with a scheme", body: `{"prefixes":["https://e.example/a"]}`, status: 400},
		{name: "a prefix too deep", body: `{"prefixes":["e.example` + strings.Repeat("/a", 32) +
			`"]}`, status: 400, words: "31"},
		{name: "a tag with a comma", body: `{"tags":["a,b"]}`, status: 400},
		{name: "no JSON", body: `tags=a`, status: 400, words: "6007"},
		{name: "two values", body: `{"tags":["a"]}{}`, status: 400, words: "6007"},
		{name: "form data", body: `{"tags":["a"]}`, status: 400, words: "6105",
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		{name: "no credentials", header: auth(""), status: 400, words: "9106"},
		{name: "another scheme", header: auth("Basic x"), status: 400, words: "6111"},
		{name: "a wrong token", header: auth("Bearer x"), status: 401, words: "10000"},
		{name: "the zone's name", path: providertest.CloudflareBase + "/zones/e.example/purge_cache",
			status: 404, words: "7003"},
		{name: "GET", method: "GET", status: 405},
	}
	for i := range requests {
		if requests[i].path == "" {
			requests[i].path = path
		}
	}
	run(t, f, common, requests)
}

func TestTheFakeEdgeIsStrict(t *testing.T) {
	f := providertest.NewEdge(providertest.EdgeConfig{Token: token})
	common := map[string]string{"Authorization": "Bearer " + token,
		"Content-Type": "application/json"}
	requests := []request{
		{name: "a tag", body: `{"kind":"tag","items":["a"],"soft":true}`, status: 200,
			words: `"generation":1`},
		{name: "everything", body: `{"kind":"everything"}`, status: 200},
		{name: "no items", body: `{"kind":"tag","items":[]}`, status: 400},
		{name: "everything with items", body: `{"kind":"everything","items":["a"]}`, status: 400},
		{name: "no such kind", body: `{"kind":"all"}`, status: 400},
		{name: "an unknown field", body: `{"kind":"everything","hard":true}`, status: 400},
		{name: "not normalised", body: `{"kind":"host","items":["E.example"]}`, status: 400},
		{name: "a wrong token", header: map[string]string{"Authorization": "Bearer x"}, status: 401},
		{name: "another path", path: "/v1/purges", status: 404},
		{name: "GET", method: "GET", status: 405},
		{name: "no content type", header: map[string]string{"Content-Type": ""}, status: 400},
	}
	for i := range requests {
		if requests[i].path == "" {
			requests[i].path = "/v1/edge/purge"
		}
	}
	run(t, f, common, requests)
}

func TestAnEffectThatFailsIsNotRecorded(t *testing.T) {
	fail := errors.New("disk full")
	var got []providertest.Applied
	f := providertest.NewFastly(providertest.FastlyConfig{Token: token, ServiceID: service,
		Apply: func(a providertest.Applied) error {
			got = append(got, a)
			return fail
		}})
	all := request{path: "/service/" + service + "/purge_all"}
	key := map[string]string{"Fastly-Key": token}
	if w := send(f, key, all); w.Code != 500 || len(f.Applied()) != 0 || len(got) != 1 {
		t.Errorf("%d, %d recorded, Apply called %d times: want 500, 0, 1", w.Code,
			len(f.Applied()), len(got))
	}
	fail = nil
	if w := send(f, key, all); w.Code != 200 || len(f.Applied()) != 1 || f.Calls() != 2 {
		t.Errorf("%d, %d recorded of %d calls: want 200, 1, 2", w.Code, len(f.Applied()), f.Calls())
	}
}

func TestFaultsComeInTheirOrderAndThenByChoice(t *testing.T) {
	f := providertest.NewFastly(providertest.FastlyConfig{Token: token, ServiceID: service})
	f.Inject(providertest.Forbidden, providertest.None, providertest.Throttled)
	f.Faults.Choose(func(call int) providertest.Fault {
		if call == 5 {
			return providertest.BadGateway
		}
		return providertest.None
	})
	var got []int
	for range 6 {
		w := send(f, map[string]string{"Fastly-Key": token},
			request{path: "/service/" + service + "/purge_all"})
		got = append(got, w.Code)
	}
	if d := cmp.Diff([]int{403, 200, 429, 200, 502, 200}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestThrottlingSpeaksEachVendorsDialect(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	fastly := providertest.NewFastly(providertest.FastlyConfig{Token: token, Now: clock})
	cloudflare := providertest.NewCloudflare(providertest.CloudflareConfig{Token: token, Now: clock})
	edge := providertest.NewEdge(providertest.EdgeConfig{Now: clock})
	fastly.Inject(providertest.Throttled)
	cloudflare.Inject(providertest.Throttled)
	edge.Inject(providertest.Throttled)
	for _, c := range []struct {
		fake          http.Handler
		present, name string
	}{
		{fastly, fmt.Sprint(now.Unix() + 7), "Fastly-RateLimit-Reset"},
		{cloudflare, "7", "Retry-After"},
		{edge, "7", "Retry-After"},
	} {
		s := httptest.NewServer(c.fake)
		res, err := http.Post(s.URL+"/x", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		s.Close()
		if res.StatusCode != 429 || res.Header.Get(c.name) != c.present {
			t.Errorf("%T: %d %v: want 429 with %s: %s", c.fake, res.StatusCode, res.Header, c.name,
				c.present)
		}
		if got := res.Header.Get("Date"); got != "Mon, 23 Nov 2026 10:00:00 GMT" {
			t.Errorf("%T: Date %q is not the fake's clock", c.fake, got)
		}
		if c.name != "Retry-After" && res.Header.Get("Retry-After") != "" {
			t.Errorf("%T: Retry-After, which this vendor does not send", c.fake)
		}
	}
}
