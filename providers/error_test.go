package providers_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pointsman/internal/secret"
	"pointsman/providers"
)

func TestClassOfEveryStatus(t *testing.T) {
	want := map[int]providers.Class{
		301: providers.Invalid, 307: providers.Invalid, 400: providers.Invalid,
		401: providers.Auth, 403: providers.Auth, 404: providers.NotFound,
		405: providers.Invalid, 408: providers.Transient, 409: providers.Invalid,
		412: providers.Invalid, 413: providers.TooLarge, 425: providers.Transient,
		429: providers.Throttled, 500: providers.Transient, 502: providers.Transient,
		503: providers.Transient, 504: providers.Transient, 507: providers.Transient,
		599: providers.Transient,
	}
	for status, class := range want {
		if got := providers.ClassOf(status); got != class {
			t.Errorf("%d: %s, want %s", status, got, class)
		}
	}
}

func TestOnlyThreeClassesAreTemporary(t *testing.T) {
	for class, want := range map[providers.Class]bool{
		providers.Throttled: true, providers.Busy: true, providers.Transient: true,
		providers.Invalid: false, providers.Auth: false, providers.NotFound: false,
		providers.Unsupported: false, providers.TooLarge: false,
	} {
		if got := (&providers.Error{Class: class}).Temporary(); got != want {
			t.Errorf("%s: temporary is %v", class, got)
		}
	}
}

func TestErrorTellsAllItKnows(t *testing.T) {
	cause := errors.New("reset")
	e := &providers.Error{Provider: "p", Operation: "POST /x", Class: providers.Transient,
		Status: 502, Message: "bad gateway", Err: cause}
	want := `provider "p": POST /x: transient (HTTP 502): bad gateway: reset`
	if e.Error() != want || !errors.Is(e, cause) {
		t.Errorf("%q: want %q, wrapping its cause", e, want)
	}
}

func TestWaitsAreReadAndBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for raw, want := range map[string]time.Duration{
		"":                               0,
		"7":                              7 * time.Second,
		" 7 ":                            7 * time.Second,
		"-7":                             0,
		"0":                              0,
		"soon":                           0,
		"1e3":                            0,
		"999999999999":                   time.Hour,
		"99999999999999999999":           0,
		"Mon, 23 Nov 2026 10:00:30 GMT":  30 * time.Second,
		"Mon, 23 Nov 2026 09:00:00 GMT":  0,
		"Mon, 23 Nov 2036 10:00:00 GMT":  time.Hour,
		"Monday, 23-Nov-26 10:00:05 GMT": 5 * time.Second,
	} {
		if got := providers.RetryAfter(http.Header{"Retry-After": {raw}}, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", raw, got, want)
		}
	}
	unix := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	for raw, want := range map[string]time.Duration{
		unix(42 * time.Second): 42 * time.Second, unix(-time.Minute): 0,
		unix(48 * time.Hour): time.Hour, "": 0, "x": 0, "0": 0, "-5": 0,
	} {
		if got := providers.Until(raw, now); got != want {
			t.Errorf("until %q: %v, want %v", raw, got, want)
		}
	}
}

func TestNowTrustsTheClockThatWroteTheHeader(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := providers.Now(http.Header{"Date": {at.Format(http.TimeFormat)}}); !got.Equal(at) {
		t.Errorf("%v, want %v", got, at)
	}
	if got := providers.Now(http.Header{}); time.Since(got).Abs() > time.Minute {
		t.Errorf("without a Date: %v", got)
	}
}

func TestCleanMakesForeignWordsSafeToShow(t *testing.T) {
	token := secret.New("s3cr3t-value")
	for raw, want := range map[string]string{
		"fine":                        "fine",
		" two\r\n lines\t\x1b[31mred": "two lines [31mred",
		"token s3cr3t-value is wrong": "token [redacted] is wrong",
		"\xff\xfe":                    "?",
	} {
		if got := providers.Clean(raw, token, secret.String{}); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
	long := providers.Clean(strings.Repeat("ü", 400) + "s3cr3t-value")
	if len(long) > providers.MaxMessage || !utf8.ValidString(long) || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes: %q", len(long), long)
	}
	// The credential goes before the cut, or its head would be left.
	cut := providers.Clean(strings.Repeat("a", 290)+" s3cr3t-value", token)
	if strings.Contains(cut, "s3cr") {
		t.Errorf("%q holds the head of the credential", cut)
	}
}

func TestScrubKeepsHarmlessErrorsWhole(t *testing.T) {
	token := secret.New("s3cr3t-value")
	if providers.Scrub(nil, token) != nil {
		t.Error("nil became an error")
	}
	harmless := errors.New("reset by peer")
	if got := providers.Scrub(harmless, token); got != harmless {
		t.Errorf("%v was changed", got)
	}
	got := providers.Scrub(errors.New(`malformed answer "s3cr3t-value"`), token)
	if got.Error() != `malformed answer "[redacted]"` {
		t.Errorf("%v", got)
	}
}
