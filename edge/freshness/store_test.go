package freshness_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/edge/freshness"
)

var epoch = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// header makes a header of "Name: value" lines.
func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

func response(status int, lines ...string) freshness.Response {
	return freshness.Response{
		Status: status, Header: header(lines...), Requested: epoch, Received: epoch,
	}
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func TestJudgeGivesTheLifetimeOfRFC9111(t *testing.T) {
	hour := httpDate(epoch.Add(time.Hour))
	for name, c := range map[string]struct {
		lines []string
		want  time.Duration
	}{
		"max-age": {[]string{"Cache-Control: max-age=60"}, time.Minute},
		"s-maxage wins over max-age": {
			[]string{"Cache-Control: max-age=60, s-maxage=120"}, 2 * time.Minute},
		"max-age wins over Expires": {
			[]string{"Cache-Control: max-age=60", "Expires: " + hour}, time.Minute},
		"Expires less Date": {
			[]string{"Date: " + httpDate(epoch.Add(-time.Hour)), "Expires: " + hour},
			2 * time.Hour},
		"Expires without Date": {[]string{"Expires: " + hour}, time.Hour},
		"the smaller of two":   {[]string{"Cache-Control: max-age=60, max-age=5"}, 5 * time.Second},
		"quoted":               {[]string{`Cache-Control: max-age="60"`}, time.Minute},
		"saturated": {
			[]string{"Cache-Control: max-age=99999999999999999999"}, 1 << 31 * time.Second,
		},
		"a tenth of the age": {
			[]string{"Last-Modified: " + httpDate(epoch.Add(-10*time.Hour))}, time.Hour,
		},
		"a day at most": {
			[]string{"Last-Modified: " + httpDate(epoch.Add(-9999*time.Hour))}, 24 * time.Hour,
		},
		"targeted wins": {
			[]string{"CDN-Cache-Control: max-age=5", "Cache-Control: s-maxage=60"}, 5 * time.Second,
		},
		"targeted hides all": {
			[]string{"CDN-Cache-Control: max-age=5", "Cache-Control: no-store"}, 5 * time.Second,
		},
		"broken targeted": {
			[]string{"CDN-Cache-Control: max-age=5,,", "Cache-Control: max-age=60"}, time.Minute,
		},
		"empty targeted": {
			[]string{"CDN-Cache-Control:", "Cache-Control: max-age=60"}, time.Minute,
		},
		"must-understand": {
			[]string{"Cache-Control: must-understand, no-store, max-age=60"}, time.Minute,
		},
		"directives of any case": {[]string{"Cache-Control: MaX-aGe=60"}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			m, reason := freshness.Judge(freshness.Request{Method: "GET"},
				response(200, c.lines...), freshness.Policy{})
			if reason != "" || m.Lifetime != c.want {
				t.Errorf("got %v, %q; want %v", m.Lifetime, reason, c.want)
			}
		})
	}
}

func TestJudgeRefusesWhatMayNotBeStored(t *testing.T) {
	for name, c := range map[string]struct {
		method, request string
		status          int
		lines           []string
		want            string
	}{
		"no-store": {lines: []string{"Cache-Control: max-age=60, no-store"}, want: "no-store"},
		"private":  {lines: []string{"Cache-Control: private, max-age=60"}, want: "private"},
		"Vary *":   {lines: []string{"Cache-Control: max-age=60", "Vary: a, *"}, want: "vary *"},
		"POST": {
			method: "POST", lines: []string{"Cache-Control: max-age=60"}, want: "method",
		},
		"partial": {status: 206, lines: []string{"Cache-Control: max-age=60"}, want: "partial"},
		"request no-store": {
			request: "Cache-Control: no-store", lines: []string{"Cache-Control: max-age=60"},
			want: "request no-store",
		},
		"authorization": {
			request: "Authorization: x", lines: []string{"Cache-Control: max-age=60"}, want: "authorization",
		},
		"302 unstated": {
			status: 302, lines: []string{`ETag: "a"`}, want: "status needs explicit freshness",
		},
		"must-understand": {
			status: 299, lines: []string{"Cache-Control: must-understand, max-age=60"},
			want: "must-understand",
		},
		"nothing at all": {want: "no freshness and no validator"},
		"no-cache alone": {
			lines: []string{"Cache-Control: no-cache, max-age=9"}, want: "no freshness and no validator",
		},
		"Expires: 0": {lines: []string{"Expires: 0"}, want: "no freshness and no validator"},
		"max-age junk": {
			lines: []string{"Cache-Control: max-age=1.5"}, want: "no freshness and no validator",
		},
		"too old": {
			lines: []string{"Cache-Control: max-age=60", "Age: 60"}, want: "no freshness and no validator",
		},
		"after a broken quote": {lines: []string{`Cache-Control: max-age=60, x="a, no-store`},
			want: "no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			q := freshness.Request{Method: "GET", Header: http.Header{}}
			if c.method != "" {
				q.Method = c.method
			}
			if c.request != "" {
				q.Header = header(c.request)
			}
			if c.status == 0 {
				c.status = 200
			}
			_, reason := freshness.Judge(q, response(c.status, c.lines...), freshness.Policy{})
			if reason != c.want {
				t.Errorf("got %q, want %q", reason, c.want)
			}
		})
	}
}

func TestJudgeLetsAuthorizedAnswersBeSharedOnlyWhenTheOriginSaysSo(t *testing.T) {
	q := freshness.Request{Method: "GET", Header: header("Authorization: Basic eA==")}
	for _, cc := range []string{"public, max-age=9", "s-maxage=9", "max-age=9, must-revalidate"} {
		m, reason := freshness.Judge(q, response(200, "Cache-Control: "+cc), freshness.Policy{})
		if reason != "" || !m.AuthOK {
			t.Errorf("%s: got %q, AuthOK %v", cc, reason, m.AuthOK)
		}
	}
}

func TestJudgeGuessesNoLifetimeForCookies(t *testing.T) {
	modified := "Last-Modified: " + httpDate(epoch.Add(-10*time.Hour))
	m, _ := freshness.Judge(freshness.Request{Method: "GET"},
		response(200, modified, "Set-Cookie: a=b"), freshness.Policy{DefaultTTL: time.Hour})
	if m.Lifetime != 0 {
		t.Errorf("guessed %v for a response with a cookie", m.Lifetime)
	}
	_, reason := freshness.Judge(freshness.Request{Method: "GET"},
		response(200, "Cache-Control: max-age=60", "Set-Cookie: a=b"), freshness.Policy{})
	if reason != "" {
		t.Errorf("a stated lifetime was refused: %s", reason)
	}
}

func TestStaleWindowsComeFromTheResponseThenThePolicyAndNeverAgainstMustRevalidate(t *testing.T) {
	policy := freshness.Policy{
		StaleWhileRevalidate: time.Second, StaleIfError: 2 * time.Second,
		StaleIfUnreachable: 3 * time.Second,
	}
	type windows struct{ While, Error, Unreachable time.Duration }
	for cc, want := range map[string]windows{
		"max-age=9":                                  {time.Second, 2 * time.Second, 3 * time.Second},
		"max-age=9, stale-if-error=7":                {time.Second, 7 * time.Second, 7 * time.Second},
		"max-age=9, stale-while-revalidate=7":        {7 * time.Second, 2 * time.Second, 3 * time.Second},
		"max-age=9, must-revalidate":                 {},
		"max-age=9, proxy-revalidate":                {},
		"max-age=9, no-cache, stale-if-error=7":      {},
		"s-maxage=9":                                 {},
		"s-maxage=9, stale-while-revalidate=7":       {7 * time.Second, 0, 0},
		"max-age=9, must-revalidate, stale-if-error": {},
	} {
		m, _ := freshness.Judge(freshness.Request{Method: "GET"},
			response(200, "Cache-Control: "+cc, `ETag: "a"`), policy)
		got := windows{m.WhileRevalidate, m.IfError, m.IfUnreachable}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", cc, d)
		}
	}
}

func TestDecideFollowsTheClock(t *testing.T) {
	m := freshness.Meta{
		Received: epoch, InitialAge: 10 * time.Second, Lifetime: time.Minute,
		WhileRevalidate: 5 * time.Second, IfError: time.Minute,
	}
	for after, want := range map[time.Duration]freshness.Action{
		-time.Hour:       freshness.Serve, // a clock that was set back
		49 * time.Second: freshness.Serve,
		50 * time.Second: freshness.ServeStale,
		54 * time.Second: freshness.ServeStale,
		55 * time.Second: freshness.Validate,
	} {
		d := freshness.Decide(m, epoch.Add(after), time.Time{})
		if d.Action != want {
			t.Errorf("after %v: got %v, want %v", after, d.Action, want)
		}
	}
	d := freshness.Decide(m, epoch.Add(100*time.Second), time.Time{})
	if !d.UsableOn(freshness.Errored, m) || d.UsableOn(freshness.Unreachable, m) {
		t.Errorf("50 s after expiry: %+v", d)
	}
	if d := freshness.Decide(m, epoch.Add(time.Second), epoch); d.Action != freshness.ServeStale {
		t.Errorf("a second after a soft purge: %+v", d)
	}
}

func TestAgeAddsWhatHappenedBeforeAndOnTheWay(t *testing.T) {
	p := response(200, "Cache-Control: max-age=600", "Age: 30",
		"Date: "+httpDate(epoch.Add(-100*time.Second)))
	m, _ := freshness.Judge(freshness.Request{Method: "GET"}, p, freshness.Policy{})
	if m.InitialAge != 100*time.Second {
		t.Errorf("apparent age: got %v", m.InitialAge)
	}
	p.Header.Del("Date")
	p.Received = epoch.Add(5 * time.Second)
	m, _ = freshness.Judge(freshness.Request{Method: "GET"}, p, freshness.Policy{})
	if m.InitialAge != 35*time.Second {
		t.Errorf("age with delay: got %v", m.InitialAge)
	}
	for value, want := range map[string]time.Duration{
		"7, 9": 7 * time.Second, " 7 ": 7 * time.Second, "-7": 0, "7.5": 0, "x": 0, "": 0,
		"99999999999": 1 << 31 * time.Second,
	} {
		if got, _ := freshness.Age(http.Header{"Age": {value}}); got != want {
			t.Errorf("Age %q: got %v, want %v", value, got, want)
		}
	}
}

func TestParseDateIsStrictAboutTheThreeForms(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 gmt",
		"Mon, 06 Nov 1994 08:49:37 GMT",
	} {
		if got, ok := freshness.ParseDate(s, epoch); !ok || !got.Equal(want) {
			t.Errorf("%q: got %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "0", "-1", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06  Nov 1994 08:49:37 GMT", "784111777",
		"Sun, 06 Nov 1994 08:49:37", "Sun, 06-Nov-1994 08:49:37 GMT", "GMT",
	} {
		if got, ok := freshness.ParseDate(s, epoch); ok {
			t.Errorf("%q was read as %v", s, got)
		}
	}
	future, _ := freshness.ParseDate("Sunday, 06-Nov-70 08:49:37 GMT", epoch)
	past, _ := freshness.ParseDate("Sunday, 06-Nov-77 08:49:37 GMT", epoch)
	if future.Year() != 2070 || past.Year() != 1977 {
		t.Errorf("two-digit years: got %d and %d", future.Year(), past.Year())
	}
}
