package providers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/secret"
	"pointsman/providers"
)

const token = "s3cr3t-value"

func sign(h http.Header, s secret.String) { h.Set("X-Key", s.Reveal()) }

func newTransport(
	t *testing.T, base string, change func(*providers.TransportConfig),
) *providers.Transport {
	t.Helper()
	c := providers.TransportConfig{Provider: "p", BaseURL: base, Token: secret.New(token + "\n"),
		Sign: sign}
	if change != nil {
		change(&c)
	}
	tr, err := providers.NewTransport(c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestDoSendsOneSignedCall(t *testing.T) {
	type seen struct{ Line, Key, Type, Accept, Agent, Length, Body, Extra string }
	var got []seen
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, seen{r.Method + " " + r.RequestURI, r.Header.Get("X-Key"),
			r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.UserAgent(),
			fmt.Sprint(r.ContentLength), string(b), r.Header.Get("X-Extra")})
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "answer")
	}) + "/base/"
	tr := newTransport(t, base, nil)
	for _, c := range []providers.Call{
		{Method: "POST", Path: "/x%2Fy/%7Bz%7D//a?b={%20}&c", Body: map[string]string{"k": "<v>"},
			Header: http.Header{"X-Extra": {"1"}}},
		{Method: "POST", Path: "/none"},
	} {
		a, err := tr.Do(t.Context(), c)
		if err != nil || a.Status != http.StatusTeapot || string(a.Body) != "answer" || a.OK() {
			t.Errorf("answer %+v, %v", a, err)
		}
	}
	want := []seen{
		{"POST /base/x%2Fy/%7Bz%7D//a?b={%20}&c", token, "application/json", "application/json",
			"pointsman", "17", `{"k":"\u003cv\u003e"}`, "1"},
		{"POST /base/none", token, "", "application/json", "pointsman", "0", "", ""},
	}
	want[0].Length = fmt.Sprint(len(want[0].Body))
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestDoFollowsNoRedirectAndKeepsNoCookie(t *testing.T) {
	var lines []string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		lines = append(lines, r.URL.Path+" "+r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	mine := &http.Client{Jar: jar}
	tr := newTransport(t, base, func(c *providers.TransportConfig) { c.HTTPClient = mine })
	for range 2 {
		a, err := tr.Do(t.Context(), providers.Call{Method: "POST", Path: "/here"})
		if err != nil || a.Status != http.StatusTemporaryRedirect {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if d := cmp.Diff([]string{"/here ", "/here "}, lines); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
	if mine.Jar == nil || mine.CheckRedirect != nil || mine.Transport != nil {
		t.Error("the client that was given has been changed")
	}
}

func TestDoHasADeadlineOfItsOwn(t *testing.T) {
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tr := newTransport(t, base,
		func(c *providers.TransportConfig) { c.Timeout = 50 * time.Millisecond })
	_, err := tr.Do(t.Context(), providers.Call{Operation: "GET /", Method: "GET", Path: "/"})
	var e *providers.Error
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !e.Unknown {
		t.Errorf("%v: want an unknown outcome after the deadline", err)
	}
}

func TestDoHidesURLAndTokenInErrors(t *testing.T) {
	raw := "HTTP/1.1 200 OK\r\nContent-Length: " + token + "\r\n\r\n"
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	})
	tr := newTransport(t, base, nil)
	_, err := tr.Do(t.Context(),
		providers.Call{Operation: "POST /x", Method: "POST", Path: "/x?signature=abc"})
	if err == nil || strings.Contains(err.Error(), token) ||
		strings.Contains(err.Error(), "signature") {
		t.Errorf("%v: want an error without token and URL", err)
	}
}

func TestDoReadsAnswersOnlyUpToItsLimit(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write(make([]byte, 3<<20))
	})
	a, err := newTransport(t, base, nil).Do(t.Context(), providers.Call{Method: "GET", Path: "/"})
	if err != nil || a.Status != http.StatusTooManyRequests || a.BodyErr == nil {
		t.Errorf("status %d, body error %v, %v: want the status and a body error",
			a.Status, a.BodyErr, err)
	}
	if len(a.Body) > 1<<20 {
		t.Errorf("%d bytes were kept", len(a.Body))
	}
}

func TestDoSendsNothingThatCannotBeEncoded(t *testing.T) {
	calls := 0
	base := serve(t, func(http.ResponseWriter, *http.Request) { calls++ })
	_, err := newTransport(t, base, nil).Do(t.Context(),
		providers.Call{Operation: "POST /", Method: "POST", Path: "/", Body: func() {}})
	var e *providers.Error
	if !errors.As(err, &e) || e.Class != providers.Invalid || e.Unknown || calls != 0 {
		t.Errorf("%v after %d calls: want invalid and none", err, calls)
	}
}

func TestNewTransportRefusesWhatWouldLeakOrFail(t *testing.T) {
	for _, c := range []struct{ base, token, words string }{
		{"https://api.example.com", token, ""},
		{"http://127.0.0.1:8080/x", token, ""},
		{"http://localhost:8080", token, ""},
		{"http://[::1]:8080", token, ""},
		{"http://api.example.com", token, "in the clear"},
		{"http://127.0.0.1.example.com", token, "in the clear"},
		{"api.example.com", token, "want https://"},
		{"https://", token, "want https://"},
		{"ftp://api.example.com", token, "want https://"},
		{"https://user:" + token + "@api.example.com", token, "credentials"},
		{"https://api.example.com?x=1", token, "query"},
		{"https://api.example.com?", token, "query"},
		{"https://api.example.com#x", token, "fragment"},
		{"https://api.example.com", "", "empty"},
		{"https://api.example.com", " \n", "empty"},
		{"https://api.example.com", token + " " + token, "white space"},
		{"https://api.example.com", token + "\r\nX: y", "white space"},
		{"https://api.example.com", token + "é", "no header may carry"},
	} {
		_, err := providers.NewTransport(providers.TransportConfig{
			Provider: "p", BaseURL: c.base, Token: secret.New(c.token), Sign: sign,
		})
		if (err == nil) != (c.words == "") || (err != nil && !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %v: want %q", c.base, err, c.words)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token: %v", c.base, err)
		}
	}
}

func TestRefusedFindsSomethingToSay(t *testing.T) {
	tr := newTransport(t, "https://api.example.com", nil)
	for _, c := range []struct {
		a     providers.Answer
		words string
		want  string
	}{
		{providers.Answer{Status: 400}, "the vendor's words", "the vendor's words"},
		{providers.Answer{Status: 400}, "with " + token, "with [redacted]"},
		{providers.Answer{Status: 301}, "", "a redirect, which is not followed: is the base URL right?"},
		{providers.Answer{Status: 502, Body: []byte("\n<html>")}, "", "HTML came where JSON was due"},
		{providers.Answer{Status: 400, Body: []byte("plain " + token)}, "", "plain [redacted]"},
		{providers.Answer{Status: 403}, "", "Forbidden"},
	} {
		e := tr.Refused(providers.Call{Operation: "POST /"}, c.a, c.words)
		if e.Message != c.want || e.Status != c.a.Status || e.Unknown != (c.a.Status >= 500) {
			t.Errorf("%+v: %+v: want %q", c.a, e, c.want)
		}
	}
}

func TestDefaultHTTPClientReachesAServer(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	c := providers.DefaultHTTPClient()
	defer c.CloseIdleConnections()
	res, err := c.Get(base)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 204 {
		t.Error(res.Status)
	}
}
