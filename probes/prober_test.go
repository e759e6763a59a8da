package probes_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes"
)

const patience = 5 * time.Second // of probes that are meant to end by themselves

func prober() *probes.NetProber { return probes.NewProber(probes.ProberConfig{Vantage: "here"}) }

// target returns an HTTP target at an address.
func target(address, path string) probes.Target {
	return probes.Target{
		Name: "t", Backend: "b", URL: "http://" + address + path, Timeout: patience,
	}
}

func TestAGoodHTTPProbeMeasuresEachPhase(t *testing.T) {
	seen := make(chan *http.Request, 1)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("X-Cache", "HIT from fra")
		_, _ = io.WriteString(w, "all is well")
	})
	_, port, _ := net.SplitHostPort(address)
	p := probes.NewProber(probes.ProberConfig{
		Vantage: "here", Resolver: resolver(t, 0), UserAgent: "measurer",
	})
	before := time.Now()
	s := p.Probe(t.Context(), probes.Target{
		Name: "t", Backend: "b", Kind: probes.HTTP, Timeout: patience,
		URL: "http://site.cdn.test:" + port + "/healthz?x=1", Host: "www.example.test",
		Headers: map[string]string{"X-Probe": "yes"},
		Expect: probes.Expect{
			Status: []int{200, 204}, Body: "is well",
			Headers: map[string]string{"x-cache": "HIT", "Content-Length": ""},
		},
	})
	if !s.OK() {
		t.Fatalf("got %s: %s", s.Outcome, s.Detail)
	}
	r := <-seen
	got := []string{r.Method, r.Host, r.RequestURI, r.Header.Get("X-Probe"), r.UserAgent()}
	want := []string{"GET", "www.example.test", "/healthz?x=1", "yes", "measurer"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("request (-want +got):", d)
	}
	if !r.Close {
		t.Error("the request did not ask for the connection to be closed")
	}
	if s.Backend != "b" || s.Target != "t" || s.Vantage != "here" || s.Status != 200 ||
		s.Remote != netip.MustParseAddrPort(address) || s.Start.Before(before) {
		t.Errorf("sample is %+v", s)
	}
	ph := s.Phases
	if ph.DNS <= 0 || ph.Connect <= 0 || ph.TLS != 0 || ph.FirstByte <= 0 ||
		ph.Total < ph.DNS+ph.Connect+ph.FirstByte {
		t.Errorf("phases are %+v", ph)
	}
}

func TestAProbeDialsOneAddressAndAsksForAnotherName(t *testing.T) {
	ca := newAuthority(t)
	ends := 30 * 24 * time.Hour
	sni := make(chan string, 1)
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		sni <- r.TLS.ServerName + " " + r.Host
	}, ca.issue(t, ends, "cdn.example.test"))
	s := prober().Probe(t.Context(), probes.Target{
		Name: "t", Backend: "b", URL: "https://site.cdn.test/", Address: address,
		Host: "cdn.example.test:443", RootCAs: ca.pool, Timeout: patience,
	})
	if !s.OK() {
		t.Fatalf("got %s: %s", s.Outcome, s.Detail)
	}
	if got := <-sni; got != "cdn.example.test cdn.example.test:443" {
		t.Errorf("SNI and Host are %q", got)
	}
	if left := time.Until(s.CertExpires); left > ends || left < ends-time.Minute {
		t.Errorf("certificate ends in %v, want %v", left, ends)
	}
	if s.Phases.TLS <= 0 || s.Phases.DNS != 0 {
		t.Errorf("phases are %+v", s.Phases)
	}
}

func TestAProbeDialsTheAddressesThatClientsAreGiven(t *testing.T) {
	address := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	p := probes.NewProber(probes.ProberConfig{Resolver: resolver(t, 3), // NXDOMAIN
		Known: func(host string) []netip.Addr {
			if host != "site.cdn.test" {
				return nil
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}})
	target := probes.Target{Name: "t", Backend: "b", Kind: probes.TCP, Timeout: patience}
	for host, want := range map[string]probes.Outcome{"site.cdn.test": probes.OK, "other.test": probes.FailedDNS} {
		target.Address = net.JoinHostPort(host, port)
		if s := p.Probe(t.Context(), target); s.Outcome != want || s.OK() && s.Phases.DNS != 0 {
			t.Errorf("%s: %s %s, phases %+v", host, s.Outcome, s.Detail, s.Phases)
		}
	}
}

func TestARefusedCertificateIsExplained(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	const name = "cdn.example.test"
	early := func() time.Time { return time.Now().Add(-950 * time.Hour) }
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		now    func() time.Time
		detail string
	}{
		{"expired", ca.issue(t, -73*time.Hour, name), nil, "certificate expired 3 days ago"},
		{"just expired", ca.issue(t, -61*time.Minute, name), nil,
			"certificate expired 1 hour ago"},
		{"wrong name", ca.issue(t, time.Hour, "a.test", "b.test", "c.test", "d.test"), nil,
			"certificate is for a.test, b.test, c.test and others, not for " + name},
		{"no name", ca.issue(t, time.Hour), nil,
			"certificate is for no name, not for " + name},
		{"untrusted", stranger.issue(t, time.Hour, name), nil,
			"certificate is signed by an unknown authority"},
		{"not yet valid", ca.issue(t, time.Hour, name), early,
			"certificate is not valid before "},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := serve(t, func(http.ResponseWriter, *http.Request) {
				t.Error("a request went out over a refused certificate")
			}, c.cert)
			p := probes.NewProber(probes.ProberConfig{Now: c.now})
			s := p.Probe(t.Context(), probes.Target{
				Name: "t", Backend: "b", URL: "https://" + name + "/", Address: address,
				RootCAs: ca.pool, Timeout: patience,
			})
			if s.Outcome != probes.FailedCert || !strings.HasPrefix(s.Detail, c.detail) {
				t.Errorf("got %s: %s", s.Outcome, s.Detail)
			}
			if s.CertExpires.IsZero() {
				t.Error("the end of the refused certificate is not told")
			}
		})
	}
}

func TestEveryFailureOfAnAnswerHasItsOutcome(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Cache: MISS\r\n\r\nhello"
	for _, c := range []struct {
		name    string
		server  func(*net.TCPConn)
		expect  probes.Expect
		outcome probes.Outcome
		detail  string
		status  int
	}{
		{"good", answer(ok), probes.Expect{}, probes.OK, "", 200},
		{"status", answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
			probes.Expect{Status: []int{200, 204}},
			probes.FailedStatus, "status 503, want 200 or 204", 503},
		{"redirect is not followed", answer("HTTP/1.1 301 M\r\nLocation: /x\r\n\r\n"),
			probes.Expect{}, probes.FailedStatus, "status 301, want 200 to 299", 301},
		{"body", answer(ok), probes.Expect{Body: "bye"},
			probes.FailedBody, `body of 5 bytes does not contain "bye"`, 200},
		{"header missing", answer(ok), probes.Expect{Headers: map[string]string{"ETag": ""}},
			probes.FailedHeader, "header ETag is missing", 200},
		{"header different", answer(ok),
			probes.Expect{Headers: map[string]string{"X-Cache": "HIT"}},
			probes.FailedHeader, `header X-Cache is "MISS", want it to contain "HIT"`, 200},
		{"closed without an answer", answer(""), probes.Expect{},
			probes.FailedRead, "waiting for the answer: connection closed in the middle", 0},
		{"closed in the head", answer("HTTP/1.1 200 OK\r\nX-Y: z\r\n"), probes.Expect{},
			probes.FailedRead, "reading the answer's head: connection closed in the middle", 0},
		{"closed in the body", answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"),
			probes.Expect{},
			probes.FailedRead, "reading the body: connection closed in the middle", 200},
		{"reset", func(c *net.TCPConn) { readRequest(c); _ = c.SetLinger(0) },
			probes.Expect{},
			probes.FailedRead, "waiting for the answer: connection reset", 0},
		{"garbage", answer("SSH-2.0-OpenSSH_9.2\r\n\r\n"), probes.Expect{},
			probes.FailedRead, "reading the answer's head: malformed HTTP", 0},
		{"endless head", answer("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20_000)),
			probes.Expect{},
			probes.FailedRead, "the answer's head is longer than 64 KiB", 0},
		{"interim answers are read over", answer("HTTP/1.1 103 Early Hints\r\n\r\n" + ok),
			probes.Expect{Body: "hello"}, probes.OK, "", 200},
		{"only interim answers",
			answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20)),
			probes.Expect{}, probes.FailedRead, "more than 8 interim answers", 0},
		{"upgrade", answer("HTTP/1.1 101 Switching Protocols\r\n\r\n"), probes.Expect{},
			probes.FailedStatus, "status 101, want 200 to 299", 101},
		{"chunked", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"3\r\nabc\r\n0\r\n\r\n"), probes.Expect{Body: "abc"}, probes.OK, "", 200},
		{"body until close", answer("HTTP/1.0 200 OK\r\n\r\nabc"), probes.Expect{Body: "abc"},
			probes.OK, "", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := target(raw(t, c.server), "/")
			asked.Expect = c.expect
			s := prober().Probe(t.Context(), asked)
			if s.Outcome != c.outcome || !strings.HasPrefix(s.Detail, c.detail) ||
				(c.detail == "") != (s.Detail == "") || s.Status != c.status {
				t.Errorf("got %s %d: %s", s.Outcome, s.Status, s.Detail)
			}
		})
	}
}

func TestAProbeEndsByItsTimeoutWhereverTheServerHangs(t *testing.T) {
	ca := newAuthority(t)
	const timeout = 300 * time.Millisecond
	dripping := func(c *net.TCPConn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nh")
		hang(c)
	}
	silentDNS := resolver(t, -1)
	for _, c := range []struct {
		name    string
		url     string
		address string
		outcome probes.Outcome
		detail  string
	}{
		{"DNS", "http://silent.test/", "", probes.FailedDNS,
			"resolving silent.test: no answer within 300ms"},
		{"TLS", "https://hang.test/", raw(t, hang), probes.FailedTLS,
			"TLS handshake not done within 300ms"},
		{"head", "http://hang.test/", raw(t, hang), probes.FailedTimeout,
			"waiting for the answer: not complete within 300ms"},
		{"body", "http://hang.test/", raw(t, dripping), probes.FailedTimeout,
			"reading the body: not complete within 300ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := probes.NewProber(probes.ProberConfig{Resolver: silentDNS})
			s := p.Probe(t.Context(), probes.Target{
				Name: "t", Backend: "b", URL: c.url, Address: c.address, RootCAs: ca.pool,
				Timeout: timeout,
			})
			if s.Outcome != c.outcome || s.Detail != c.detail {
				t.Errorf("got %s: %s", s.Outcome, s.Detail)
			}
			// A TLS handshake has the rest of the time as its deadline, cut to whole
			// milliseconds by the runtime's timers: a little less is the timeout, too.
			if s.Phases.Total < timeout*9/10 || s.Phases.Total > patience {
				t.Errorf("took %v, want about %v", s.Phases.Total, timeout)
			}
		})
	}
}

func TestACancelledContextEndsAProbeAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := raw(t, func(c *net.TCPConn) {
		readRequest(c)
		cancel()
		hang(c)
	})
	asked := target(address, "/")
	asked.Timeout = time.Minute
	if s := prober().Probe(ctx, asked); s.OK() || s.Phases.Total > patience {
		t.Errorf("got %s after %v", s.Outcome, s.Phases.Total)
	}
}

func TestANameThatDoesNotResolveIsADNSFailure(t *testing.T) {
	for _, c := range []struct {
		name   string
		rcode  int
		detail string
	}{
		{"NXDOMAIN", 3, "gone.cdn.test does not exist in the DNS"},
		{"SERVFAIL", 2, "resolving gone.cdn.test: server misbehaving"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := probes.NewProber(probes.ProberConfig{Resolver: resolver(t, c.rcode)})
			s := p.Probe(t.Context(), probes.Target{
				Name: "t", Backend: "b", URL: "http://gone.cdn.test/", Timeout: patience,
			})
			if s.Outcome != probes.FailedDNS || s.Detail != c.detail || s.Phases.DNS <= 0 {
				t.Errorf("got %s after %v: %s", s.Outcome, s.Phases.DNS, s.Detail)
			}
		})
	}
}

func TestAConnectionThatIsRefusedIsAConnectFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, kind := range []probes.Kind{probes.HTTP, probes.TCP} {
		s := prober().Probe(t.Context(), probes.Target{
			Name: "t", Backend: "b", Kind: kind, URL: "http://x.test/", Address: address,
			Timeout: patience,
		})
		want := "connection to " + address + " refused"
		if s.Outcome != probes.FailedConnect || s.Detail != want {
			t.Errorf("%s: got %s: %s", kind, s.Outcome, s.Detail)
		}
	}
}

func TestATCPProbeConnectsAndOnRequestSpeaksTLS(t *testing.T) {
	ca := newAuthority(t)
	plain := raw(t, hang)
	secured := serve(t, func(http.ResponseWriter, *http.Request) {},
		ca.issue(t, time.Hour, "mail.example.test"))
	probe := func(address, name string) probes.Sample {
		return prober().Probe(t.Context(), probes.Target{
			Name: "t", Backend: "b", Kind: probes.TCP, Address: address, ServerName: name,
			RootCAs: ca.pool, Timeout: patience,
		})
	}
	if s := probe(plain, ""); !s.OK() || s.Phases.Connect <= 0 || s.Phases.TLS != 0 {
		t.Errorf("plain: %+v", s)
	}
	if s := probe(secured, "mail.example.test"); !s.OK() || s.CertExpires.IsZero() {
		t.Errorf("TLS: %+v", s)
	}
	if s := probe(secured, "www.example.test"); s.Outcome != probes.FailedCert {
		t.Errorf("wrong name: %+v", s)
	}
	ssh := raw(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); hang(c) })
	if s := probe(ssh, "mail.example.test"); s.Outcome != probes.FailedTLS ||
		s.Detail != "TLS handshake: the server does not speak TLS" {
		t.Errorf("no TLS: %s: %s", s.Outcome, s.Detail)
	}
}

func TestAProbeReadsNoMoreThanItMay(t *testing.T) {
	endless := raw(t, func(c *net.TCPConn) {
		readRequest(c)
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nstart")
		for err == nil {
			_, err = io.WriteString(c, strings.Repeat("x", 4096))
		}
	})
	asked := target(endless, "/")
	asked.MaxBody = 10_000
	asked.Expect.Body = "start"
	if s := prober().Probe(t.Context(), asked); !s.OK() {
		t.Errorf("got %s: %s", s.Outcome, s.Detail)
	}
	asked.Expect.Body = "end"
	s := prober().Probe(t.Context(), asked)
	if s.Outcome != probes.FailedBody || !strings.Contains(s.Detail, "10000 bytes") {
		t.Errorf("got %s: %s", s.Outcome, s.Detail)
	}
}

func TestEachProbeMeasuresANewConnection(t *testing.T) {
	var connections atomic.Int32
	address := raw(t, func(c *net.TCPConn) {
		connections.Add(1)
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		hang(c)
	})
	p := prober()
	for range 3 {
		if s := p.Probe(t.Context(), target(address, "/")); !s.OK() || s.Phases.Connect <= 0 {
			t.Fatalf("got %s: %s", s.Outcome, s.Detail)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 probes", n)
	}
}

func TestADetailFromTheNetworkIsPrintableAndBounded(t *testing.T) {
	asked := target(raw(t, answer("HTTP/1.1 200 OK\r\nX-Cache: \x1b[31m"+
		strings.Repeat("é", 5000)+"\r\n\r\n")), "/")
	asked.Expect.Headers = map[string]string{"X-Cache": "HIT"}
	s := prober().Probe(t.Context(), asked)
	if s.OK() || len(s.Detail) > 400 || strings.ContainsAny(s.Detail, "\x1b\r\n") {
		t.Errorf("got %s, %d bytes: %q", s.Outcome, len(s.Detail), s.Detail)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Add([]byte("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\n\r\n"))
	f.Add([]byte("HTTP/9.9 -1 \r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		asked := target(raw(t, answer(string(text))), "/")
		asked.Timeout, asked.Expect.Body = time.Second, "hello"
		s := prober().Probe(t.Context(), asked)
		switch {
		case s.OK() && (s.Status < 200 || s.Status > 299 || s.Detail != ""):
			t.Errorf("called %q good: %+v", text, s)
		case s.OK() && !strings.Contains(string(text), "h"):
			t.Errorf("found hello in %q", text)
		case !s.OK() && s.Detail == "":
			t.Errorf("%s without a detail", s.Outcome)
		}
	})
}
