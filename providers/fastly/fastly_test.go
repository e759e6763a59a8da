package fastly_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/secret"
	"pointsman/providers"
	"pointsman/providers/fastly"
	"pointsman/providers/providertest"
	"pointsman/providers/providertest/suite"
)

const service = "SU1Z0isxPaozGVKXdv0eY"

func TestFastlyKeepsTheContract(t *testing.T) {
	suite.Run(t, suite.Setup{
		Vendor: "fastly",
		NewDouble: func() suite.Double {
			return providertest.NewFastly(providertest.FastlyConfig{
				Token: suite.Canary, ServiceID: service,
			})
		},
		NewProvider: func(o suite.Options) (providers.Provider, error) {
			return fastly.New(fastly.Config{
				Name: o.Name, BaseURL: o.RootURL, ServiceID: service, Token: o.Token,
				HTTPClient: o.Client, Logger: o.Logger,
			})
		},
	})
}

const token = "s3cr3t-value"

// seen is one request as a server saw it.
type seen struct{ Line, Key, Type, Soft, Body string }

// ask sends one batch to a server that gives one answer.
func ask(
	t *testing.T, b providers.Batch, answer http.HandlerFunc,
) (seen, providers.Receipt, *providers.Error) {
	t.Helper()
	var got seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{r.Method + " " + r.RequestURI, r.Header.Get("Fastly-Key"),
			r.Header.Get("Content-Type"), r.Header.Get("Fastly-Soft-Purge"), string(body)}
		answer(w, r)
	}))
	defer s.Close()
	p, err := fastly.New(fastly.Config{Name: "f", BaseURL: s.URL, ServiceID: service,
		Token: secret.New(token)})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := p.Purge(t.Context(), b)
	var e *providers.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%v (%T)", err, err)
	}
	return got, receipt, e
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func tags(items ...string) providers.Batch {
	return providers.Batch{Kind: providers.Tag, Items: items}
}

func TestEachKindIsTheDocumentedRequest(t *testing.T) {
	ok := `{"status":"ok","id":"4151-1635861748-11038"}`
	for _, c := range []struct {
		batch providers.Batch
		say   string
		want  seen
		ref   string
	}{
		{tags("a", "b/c"), `{"a":"4151-1-1","b/c":"4151-1-2"}`,
			seen{"POST /service/" + service + "/purge", token, "application/json", "",
				`{"surrogate_keys":["a","b/c"]}`}, "4151-1-1,4151-1-2"},
		{providers.Batch{Kind: providers.Tag, Items: []string{".."}, Soft: true},
			`{"..":"4151-1-1"}`,
			seen{"POST /service/" + service + "/purge", token, "application/json", "1",
				`{"surrogate_keys":[".."]}`}, "4151-1-1"},
		{providers.Batch{Kind: providers.Everything}, `{"status":"ok"}`,
			seen{"POST /service/" + service + "/purge_all", token, "", "", ""}, ""},
		{providers.Batch{Kind: providers.URL, Soft: true,
			Items: []string{"http://www.example.com:8080/a%20b//c?v=1"}}, ok,
			seen{"POST /purge/www.example.com:8080/a%20b//c?v=1", token, "", "1", ""},
			"4151-1635861748-11038"},
	} {
		got, receipt, e := ask(t, c.batch, says(200, c.say))
		if e != nil {
			t.Errorf("%v: %v", c.batch, e)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("request of %v (-want +got):\n%s", c.batch, d)
		}
		want := providers.Receipt{Ref: c.ref, Estimate: 150 * time.Millisecond}
		if d := cmp.Diff(want, receipt); d != "" {
			t.Errorf("receipt of %v (-want +got):\n%s", c.batch, d)
		}
	}
}

func TestASuccessMustNameEveryTag(t *testing.T) {
	for _, body := range []string{`{"a":"4151-1-1"}`, `{"a":"4151-1-1","b":""}`, `{}`, `[]`, `null`,
		`{"a":1,"b":2}`, `{"status":"ok"}`, `{"a":"1","b":"2"} trailing`} {
		_, _, e := ask(t, tags("a", "b"), says(200, body))
		if e == nil || e.Class != providers.Transient || !e.Unknown {
			t.Errorf("%s: %v: want transient and unknown", body, e)
		}
	}
	for _, body := range []string{`{"status":"error"}`, `{"id":"1"}`, `"ok"`, ``} {
		_, _, e := ask(t, providers.Batch{Kind: providers.Everything}, says(200, body))
		if e == nil || e.Class != providers.Transient || !e.Unknown {
			t.Errorf("%s: %v: want transient and unknown", body, e)
		}
	}
}

func TestErrorsSpeakWithFastlysWords(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  providers.Class
		words  string
	}{
		{400, `{"msg":"Bad request","detail":"surrogate key too long"}`, providers.Invalid,
			"Bad request: surrogate key too long"},
		{401, `{"msg":"Provided credentials are missing or invalid"}`, providers.Auth,
			"Provided credentials are missing or invalid"},
		{403, `{"errors":[{"title":"Forbidden","detail":"no scope"},{"title":"again"}]}`,
			providers.Auth, "Forbidden: no scope: again"},
		{404, `{"title":"Not Found","detail":"no such service","status":404}`,
			providers.NotFound, "Not Found: no such service"},
		{403, "<html><b>go away</b></html>", providers.Auth, "HTML came where JSON was due"},
		{503, "backend is down\n", providers.Transient, "backend is down"},
		{401, `{"msg":"no such token: ` + token + `"}`, providers.Auth,
			"no such token: [redacted]"},
		{400, strings.Repeat("x", 2000), providers.Invalid, strings.Repeat("x", 297) + "…"},
		{429, "", providers.Throttled, "Too Many Requests"},
	} {
		_, _, e := ask(t, tags("a"), says(c.status, c.body))
		if e == nil || e.Class != c.class || e.Status != c.status || e.Message != c.words {
			t.Errorf("%d %.60s: %v: want %s %q", c.status, c.body, e, c.class, c.words)
		}
	}
}

func TestTheWaitIsReadByFastlysOwnClock(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC) // years from ours
	_, _, e := ask(t, tags("a"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", at.Format(http.TimeFormat))
		w.Header().Set("Fastly-RateLimit-Remaining", "0")
		w.Header().Set("Fastly-RateLimit-Reset", strconv.FormatInt(at.Unix()+90, 10))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if e == nil || e.Class != providers.Throttled || e.RetryAfter != 90*time.Second {
		t.Errorf("%+v: want throttled for 90s", e)
	}
	_, _, e = ask(t, tags("a"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Fastly-RateLimit-Reset", strconv.FormatInt(time.Now().Unix()+90, 10))
		w.WriteHeader(http.StatusBadRequest)
	})
	if e == nil || e.RetryAfter != 0 {
		t.Errorf("%+v: want no wait for a 400, which carries the header too", e)
	}
}

func TestATagAsLongAsFastlyRefusesIsNotSent(t *testing.T) {
	got, _, e := ask(t, tags("a", strings.Repeat("k", 1024)), says(200, "{}"))
	if e == nil || e.Class != providers.Invalid || e.Provider != "f" || got.Line != "" {
		t.Errorf("%v, request %q: want invalid and none", e, got.Line)
	}
}

func TestReferencesOfManyTagsAreCut(t *testing.T) {
	var items []string
	ids := map[string]string{}
	for i := range 256 {
		items = append(items, fmt.Sprintf("t%d", i))
		ids[items[i]] = fmt.Sprintf("4151-1635861748-%d", i)
	}
	body, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	_, r, e := ask(t, tags(items...), says(200, string(body)))
	if e != nil || len(r.Ref) > 300 || !strings.HasPrefix(r.Ref, "4151-1635861748-0,") {
		t.Errorf("%v, reference of %d bytes: %q", e, len(r.Ref), r.Ref)
	}
}

func TestTheHoursBudgetIsRespectedAndComesBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	fake := providertest.NewFastly(providertest.FastlyConfig{
		Token: token, ServiceID: service, PurgesPerHour: 60, Now: func() time.Time { return now },
	})
	s := httptest.NewServer(fake)
	defer s.Close()
	p, err := fastly.New(fastly.Config{Name: "f", BaseURL: s.URL, ServiceID: service,
		Token: secret.New(token)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Purge(t.Context(), suite.Batch(providers.Tag, 60)); err != nil {
		t.Fatal(err)
	}
	_, err = p.Purge(t.Context(), suite.Batch(providers.Tag, 2))
	var e *providers.Error
	if !errors.As(err, &e) || e.Class != providers.Throttled || e.RetryAfter != 2*time.Minute {
		t.Fatalf("%v: want throttled for 2m", err)
	}
	now = now.Add(e.RetryAfter)
	if _, err := p.Purge(t.Context(), suite.Batch(providers.Tag, 2)); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	last := fake.Applied()[1]
	if len(fake.Applied()) != 2 || !last.At.Equal(now) {
		t.Errorf("applied %+v: want the second at %v", last, now)
	}
}

func TestNewRefusesABadConfig(t *testing.T) {
	good := fastly.Config{Name: "f", ServiceID: service, Token: secret.New(token)}
	for _, c := range []struct {
		words  string
		change func(*fastly.Config)
	}{
		{"", func(*fastly.Config) {}},
		{"", func(c *fastly.Config) { c.MaxKeys = 256 }},
		{"no name", func(c *fastly.Config) { c.Name = "" }},
		{"service id", func(c *fastly.Config) { c.ServiceID = "" }},
		{"service id", func(c *fastly.Config) { c.ServiceID = "a/../../purge" }},
		{"service id", func(c *fastly.Config) { c.ServiceID = "a/b" }},
		{"tags a call", func(c *fastly.Config) { c.MaxKeys = 257 }},
		{"tags a call", func(c *fastly.Config) { c.MaxKeys = -1 }},
		{"token: empty", func(c *fastly.Config) { c.Token = secret.String{} }},
		{"in the clear", func(c *fastly.Config) { c.BaseURL = "http://192.0.2.1" }},
	} {
		conf := good
		c.change(&conf)
		p, err := fastly.New(conf)
		if (err == nil) != (c.words == "") || (err == nil) != (p != nil) ||
			(err != nil && !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%q: %v", c.words, err)
		}
	}
}

func TestFewerTagsACallCanBeConfigured(t *testing.T) {
	p, err := fastly.New(fastly.Config{Name: "f", ServiceID: service, Token: secret.New(token),
		MaxKeys: 10})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Capabilities().Kinds[providers.Tag].MaxBatch; got != 10 {
		t.Errorf("%d tags a call, want 10", got)
	}
	if got := fastly.Capabilities().Kinds[providers.Tag].MaxBatch; got != 256 {
		t.Errorf("%d tags a call without an account, want 256", got)
	}
}
