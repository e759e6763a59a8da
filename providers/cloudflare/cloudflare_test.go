package cloudflare_test

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

	"pointsman/internal/secret"
	"pointsman/providers"
	"pointsman/providers/cloudflare"
	"pointsman/providers/providertest"
	"pointsman/providers/providertest/suite"
)

const zone = "023e105f4ecef8ad9ca31a8372d0c353"

func TestCloudflareKeepsTheContract(t *testing.T) {
	suite.Run(t, suite.Setup{
		Vendor: "cloudflare",
		NewDouble: func() suite.Double {
			return providertest.NewCloudflare(providertest.CloudflareConfig{
				Token: suite.Canary, ZoneID: zone, MaxURLs: 30,
			})
		},
		NewProvider: func(o suite.Options) (providers.Provider, error) {
			return cloudflare.New(cloudflare.Config{
				Name: o.Name, BaseURL: o.RootURL + providertest.CloudflareBase, ZoneID: zone,
				Token: o.Token, HTTPClient: o.Client, Logger: o.Logger,
			})
		},
	})
}

const token = "s3cr3t-value"

// seen is one request as a server saw it.
type seen struct{ Line, Auth, Type, Body string }

// ask sends one batch to a server that gives one answer.
func ask(
	t *testing.T, b providers.Batch, answer http.HandlerFunc,
) (seen, providers.Receipt, *providers.Error) {
	t.Helper()
	var got seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{r.Method + " " + r.RequestURI, r.Header.Get("Authorization"),
			r.Header.Get("Content-Type"), string(body)}
		answer(w, r)
	}))
	defer s.Close()
	p, err := cloudflare.New(cloudflare.Config{Name: "c", BaseURL: s.URL + "/client/v4/",
		ZoneID: zone, Token: secret.New(token)})
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

func batch(k providers.Kind, items ...string) providers.Batch {
	return providers.Batch{Kind: k, Items: items}
}

const taken = `{"success":true,"errors":[],"messages":[],"result":{"id":"` + zone + `"}}`

func TestEachKindIsTheDocumentedBody(t *testing.T) {
	for _, c := range []struct {
		batch providers.Batch
		body  string
	}{
		{batch(providers.Everything), `{"purge_everything":true}`},
		{batch(providers.URL, "https://www.example.com/a.css", "http://www.example.com/"),
			`{"files":["https://www.example.com/a.css","http://www.example.com/"]}`},
		{batch(providers.Tag, "tag-a", "Tag-b"), `{"tags":["tag-a","Tag-b"]}`},
		{batch(providers.Host, "www.example.com"), `{"hosts":["www.example.com"]}`},
		{batch(providers.Prefix, "www.example.com/foo"), `{"prefixes":["www.example.com/foo"]}`},
	} {
		got, receipt, e := ask(t, c.batch, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("CF-Ray", "8f0c-FRA")
			says(200, taken)(w, r)
		})
		if e != nil {
			t.Errorf("%v: %v", c.batch, e)
		}
		want := seen{"POST /client/v4/zones/" + zone + "/purge_cache", "Bearer " + token,
			"application/json", c.body}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("request of %v (-want +got):\n%s", c.batch, d)
		}
		wantReceipt := providers.Receipt{Ref: "8f0c-FRA", Estimate: time.Second}
		if d := cmp.Diff(wantReceipt, receipt); d != "" {
			t.Errorf("receipt of %v (-want +got):\n%s", c.batch, d)
		}
	}
}

func failure(code int, message string) string {
	return fmt.Sprintf(`{"success":false,"errors":[{"code":%d,"message":%q}],`+
		`"messages":[],"result":null}`, code, message)
}

func TestStatusDecidesAndCodesExplain(t *testing.T) {
	chain := `{"success":false,"errors":[{"code":6003,"message":"Invalid request headers",` +
		`"error_chain":[{"code":%d,"message":"Invalid format"}]}],"result":null}`
	for _, c := range []struct {
		status int
		body   string
		class  providers.Class
		words  string
		once   bool
	}{
		{400, failure(6007, "Malformed JSON"), providers.Invalid, "6007 Malformed JSON", false},
		{400, failure(1012, "no kind"), providers.Invalid, "1012 no kind", false},
		{400, failure(9106, "no headers"), providers.Auth, "9106 no headers", false},
		{400, fmt.Sprintf(chain, 6111), providers.Auth,
			"6003 Invalid request headers (6111 Invalid format)", false},
		{400, fmt.Sprintf(chain, 6103), providers.Auth,
			"6003 Invalid request headers (6103 Invalid format)", false},
		{400, fmt.Sprintf(chain, 6105), providers.Invalid,
			"6003 Invalid request headers (6105 Invalid format)", false},
		{401, failure(10000, "Authentication error"), providers.Auth,
			"10000 Authentication error", true},
		{403, failure(10000, "Authentication error"), providers.Auth,
			"10000 Authentication error", false},
		{401, failure(1, "other"), providers.Auth, "1 other", false},
		{403, failure(9109, "not that zone"), providers.Auth, "9109 not that zone", false},
		{404, failure(7003, "no route"), providers.NotFound, "7003 no route", false},
		{413, "<html>too large</html>", providers.TooLarge, "HTML came where JSON was due", false},
		{429, failure(971, "wait"), providers.Throttled, "971 wait", false},
		{403, "<html>blocked</html>", providers.Transient, "HTML came where JSON was due", false},
		{404, "<!DOCTYPE html>", providers.Transient, "HTML came where JSON was due", false},
		{520, "<html>", providers.Transient, "HTML came where JSON was due", false},
		{500, failure(1, "with "+token), providers.Transient, "1 with [redacted]", false},
		{200, failure(1, "later"), providers.Transient, "1 later", false},
		{200, failure(9109, "not that zone"), providers.Auth, "9109 not that zone", false},
	} {
		_, _, e := ask(t, batch(providers.Tag, "a"), says(c.status, c.body))
		if e == nil || e.Class != c.class || e.Status != c.status || e.Message != c.words ||
			e.RetryOnce != c.once {
			t.Errorf("%d %.80s: %+v: want %s %q", c.status, c.body, e, c.class, c.words)
		}
	}
}

func TestASuccessMustSaySo(t *testing.T) {
	for _, body := range []string{`{}`, `null`, `[]`, `{"result":{"id":"x"}}`, `{"success":"true"}`,
		taken + "x", ""} {
		_, _, e := ask(t, batch(providers.Tag, "a"), says(200, body))
		if e == nil || e.Class != providers.Transient || !e.Unknown {
			t.Errorf("%q: %+v: want transient and unknown", body, e)
		}
	}
}

func TestTheWaitComesFromEitherHeader(t *testing.T) {
	for _, c := range []struct {
		after  string
		limits []string
		want   time.Duration
	}{
		{"12", []string{`"default";r=0;t=3`}, 12 * time.Second},
		{"", []string{`"default";r=0;t=3`}, 3 * time.Second},
		{"", []string{`"default"; r=0; t=3, "burst";r=0;t=40, "other";r=7;t=900`}, 40 * time.Second},
		{"", []string{`"a";r=0;t=5`, `"b";r=0;t=6`}, 6 * time.Second},
		{"", []string{`"a";r=0;t=99999`}, time.Hour},
		{"", []string{`"a";r=0;t=-4`}, 0},
		{"", []string{`;;r=x;t=,,=`}, 0},
		{"", nil, 0},
	} {
		_, _, e := ask(t, batch(providers.Tag, "a"), func(w http.ResponseWriter, _ *http.Request) {
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.Header()["Ratelimit"] = c.limits
			w.WriteHeader(http.StatusTooManyRequests)
		})
		if e == nil || e.Class != providers.Throttled || e.RetryAfter != c.want {
			t.Errorf("%q %q: %+v: want %v", c.after, c.limits, e, c.want)
		}
	}
}

func TestWhatWouldPurgeNothingIsNotSent(t *testing.T) {
	deep := "www.example.com" + strings.Repeat("/a", 31)
	for _, c := range []struct {
		batch providers.Batch
		words string
	}{
		{batch(providers.Prefix, deep), ""},
		{batch(providers.Prefix, deep+"/"), "slashes"},
		{batch(providers.Tag, "a,b"), "comma"},
	} {
		got, _, e := ask(t, c.batch, says(200, taken))
		if (e == nil) != (c.words == "") || (e == nil) != (got.Line != "") {
			t.Errorf("%v: %v after request %q", c.batch, e, got.Line)
		}
		if e != nil && (e.Class != providers.Invalid || !strings.Contains(e.Message, c.words) ||
			e.Provider != "c") {
			t.Errorf("%v: %v: want invalid with %q", c.batch, e, c.words)
		}
	}
}

func TestThePlansBudgetIsRespectedAndComesBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	fake := providertest.NewCloudflare(providertest.CloudflareConfig{
		Token: token, ZoneID: zone, Plan: providertest.Free, Now: func() time.Time { return now },
	})
	s := httptest.NewServer(fake)
	defer s.Close()
	p, err := cloudflare.New(cloudflare.Config{Name: "c", ZoneID: zone, Token: secret.New(token),
		BaseURL: s.URL + providertest.CloudflareBase})
	if err != nil {
		t.Fatal(err)
	}
	for range 25 {
		if _, err := p.Purge(t.Context(), suite.Batch(providers.Tag, 1)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = p.Purge(t.Context(), suite.Batch(providers.Everything, 0))
	var e *providers.Error
	if !errors.As(err, &e) || e.Class != providers.Throttled || e.RetryAfter != 12*time.Second {
		t.Fatalf("%v: want throttled for 12s, a fifth of a minute", err)
	}
	if _, err := p.Purge(t.Context(), suite.Batch(providers.URL, 30)); err != nil {
		t.Errorf("URLs have a budget of their own: %v", err)
	}
	now = now.Add(e.RetryAfter)
	if _, err := p.Purge(t.Context(), suite.Batch(providers.Everything, 0)); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

func TestNewRefusesABadConfig(t *testing.T) {
	good := cloudflare.Config{Name: "c", ZoneID: zone, Token: secret.New(token)}
	for _, c := range []struct {
		words  string
		change func(*cloudflare.Config)
	}{
		{"", func(*cloudflare.Config) {}},
		{"", func(c *cloudflare.Config) { c.MaxURLs = 500 }},
		{"no name", func(c *cloudflare.Config) { c.Name = "" }},
		{"not its name", func(c *cloudflare.Config) { c.ZoneID = "example.com" }},
		{"not its name", func(c *cloudflare.Config) { c.ZoneID = zone[1:] }},
		{"not its name", func(c *cloudflare.Config) { c.ZoneID = zone[1:] + "g" }},
		{"not its name", func(c *cloudflare.Config) { c.ZoneID = zone + "00" }},
		{"URLs a call", func(c *cloudflare.Config) { c.MaxURLs = 501 }},
		{"URLs a call", func(c *cloudflare.Config) { c.MaxURLs = -1 }},
		{"token: empty", func(c *cloudflare.Config) { c.Token = secret.String{} }},
		{"in the clear", func(c *cloudflare.Config) { c.BaseURL = "http://192.0.2.1" }},
	} {
		conf := good
		c.change(&conf)
		p, err := cloudflare.New(conf)
		if (err == nil) != (c.words == "") || (err == nil) != (p != nil) ||
			(err != nil && !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%q: %v", c.words, err)
		}
	}
}

func TestURLsACallDefaultToWhatEveryAccountTakes(t *testing.T) {
	if got := cloudflare.Capabilities().Kinds[providers.URL].MaxBatch; got != 30 {
		t.Errorf("%d, want 30", got)
	}
}
