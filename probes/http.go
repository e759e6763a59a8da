package probes

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxHeader is how many bytes an answer's head may have, interim answers included.
	maxHeader = 64 << 10
	// maxInterim is how many 1xx answers are read over before the final one.
	maxInterim = 8
)

// answered is called with the final head and the whole body that was read.
type answered func(head *http.Response, body []byte, truncated bool)

// http asks the target's URL once over a new connection and judges the answer. The request
// and the answer are written and read here, not by an http.Transport, so that each phase is
// measured where it happens and nothing outlives the probe.
func (m *measurement) http(ctx context.Context, then answered) *failure {
	u, err := url.Parse(m.target.URL)
	if err != nil || u.Host == "" {
		return fail(FailedConnect, "%q is not a URL with a host", m.target.URL)
	}
	request := m.request(u)
	conn, end, f := m.connect(ctx, m.dialAddress(u), m.serverName(u))
	if f != nil {
		return f
	}
	defer end()
	if err := request.Write(conn); err != nil {
		return m.readFailure("sending the request", err)
	}
	limited := &headLimit{r: conn, left: maxHeader}
	head, f := m.readHead(bufio.NewReader(limited), request)
	if f != nil && limited.left == 0 {
		f = fail(FailedRead, "the answer's head is longer than %d KiB", maxHeader>>10)
	}
	if f != nil {
		return f
	}
	limited.left = -1
	defer head.Body.Close()
	m.sample.Status = head.StatusCode
	unexpected := m.judgeHead(head)
	if unexpected != nil && then == nil {
		return unexpected
	}
	body, truncated, f := m.readBody(head.Body)
	if f != nil {
		return f
	}
	if then != nil {
		then(head, body, truncated)
	}
	if unexpected != nil {
		return unexpected
	}
	return m.judgeBody(body)
}

// request builds the request for a URL.
func (m *measurement) request(u *url.URL) *http.Request {
	r := &http.Request{
		Method: m.target.method(), URL: u, Host: m.target.Host, Header: http.Header{},
		ProtoMajor: 1, ProtoMinor: 1, Close: true,
	}
	r.Header.Set("User-Agent", m.prober.userAgent)
	for name, value := range m.target.Headers {
		r.Header.Set(name, value)
	}
	return r
}

// dialAddress is where an HTTP target is dialled.
func (m *measurement) dialAddress(u *url.URL) string {
	if m.target.Address != "" {
		return m.target.Address
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// serverName is the name for TLS; empty: no TLS.
func (m *measurement) serverName(u *url.URL) string {
	switch {
	case u.Scheme != "https":
		return ""
	case m.target.ServerName != "":
		return m.target.ServerName
	case m.target.Host != "":
		return (&url.URL{Host: m.target.Host}).Hostname()
	default:
		return u.Hostname()
	}
}

// readHead waits for the first byte and reads up to the final answer's body. Interim answers
// (103, RFC 8297) are read over.
func (m *measurement) readHead(r *bufio.Reader, q *http.Request) (*http.Response, *failure) {
	began := time.Now()
	_, err := r.Peek(1)
	m.sample.Phases.FirstByte = time.Since(began)
	if err != nil {
		return nil, m.readFailure("waiting for the answer", err)
	}
	for range maxInterim + 1 {
		head, err := http.ReadResponse(r, q)
		switch {
		case err != nil:
			return nil, m.readFailure("reading the answer's head", err)
		case head.StatusCode == http.StatusSwitchingProtocols || head.StatusCode >= 200:
			return head, nil
		}
	}
	return nil, fail(FailedRead, "more than %d interim answers", maxInterim)
}

// readBody reads at most MaxBody bytes.
func (m *measurement) readBody(r io.Reader) (body []byte, truncated bool, f *failure) {
	limit := m.target.maxBody()
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, false, m.readFailure("reading the body", err)
	}
	if int64(len(body)) > limit {
		return body[:limit], true, nil
	}
	return body, false, nil
}

// judgeHead compares status and headers with what was expected.
func (m *measurement) judgeHead(head *http.Response) *failure {
	want := m.target.Expect
	if !want.accepts(head.StatusCode) {
		return fail(FailedStatus, "status %d, want %s", head.StatusCode, want.statuses())
	}
	for _, name := range sortedKeys(want.Headers) {
		text, values := want.Headers[name], head.Header.Values(name)
		switch {
		case len(values) == 0:
			return fail(FailedHeader, "header %s is missing", name)
		case !slices.ContainsFunc(values, func(v string) bool {
			return strings.Contains(v, text)
		}):
			return fail(FailedHeader, "header %s is %q, want it to contain %q",
				name, clean(values[0]), text)
		}
	}
	return nil
}

func (m *measurement) judgeBody(body []byte) *failure {
	want := m.target.Expect.Body
	if want == "" || bytes.Contains(body, []byte(want)) {
		return nil
	}
	return fail(FailedBody, "body of %d bytes does not contain %q", len(body), clean(want))
}

func (e Expect) accepts(status int) bool {
	if len(e.Status) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.Contains(e.Status, status)
}

// statuses says which are accepted, for people.
func (e Expect) statuses() string {
	if len(e.Status) == 0 {
		return "200 to 299"
	}
	words := make([]string, len(e.Status))
	for i, status := range e.Status {
		words[i] = strconv.Itoa(status)
	}
	return strings.Join(words, " or ")
}

// headLimit passes left bytes and then ends; a negative left passes all. http.ReadResponse
// itself has no limit.
type headLimit struct {
	r    io.Reader
	left int
}

func (l *headLimit) Read(p []byte) (int, error) {
	if l.left < 0 {
		return l.r.Read(p)
	}
	if l.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
