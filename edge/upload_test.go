package edge_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pointsman/edge"
)

func TestAClientThatSendsNoMoreOfItsBodyIsCutOff(t *testing.T) {
	ended := make(chan error, 1)
	o := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	}))
	defer o.Close()
	s := newEdge(t, nil, func(c *edge.Config) {
		c.Transport, c.WriteTimeout, c.Sites[0].Origin = nil, 100*time.Millisecond, o.URL
	})
	front := httptest.NewServer(s.Handler())
	defer front.Close()
	got := raw(t, front.Listener.Addr().String(),
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n1")
	if !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("got %q", got)
	}
	if err := <-ended; err == nil {
		t.Error("the origin took a part of the body for the whole")
	}
}

func TestABodyThatNobodyWantsDoesNotHoldUpTheAnswer(t *testing.T) {
	s := newEdge(t, always(200, "hello", "Cache-Control: max-age=60"), func(c *edge.Config) {
		c.WriteTimeout = 100 * time.Millisecond
	})
	front := httptest.NewServer(s.Handler())
	defer front.Close()
	get(s, "/")
	got := raw(t, front.Listener.Addr().String(),
		"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n1")
	if !strings.HasSuffix(got, "hello") {
		t.Errorf("got %q", got)
	}
}

func TestAClientMayTakeItsTimeAsLongAsItSends(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // what is missing, the client notices
	}))
	defer o.Close()
	s := newEdge(t, nil, func(c *edge.Config) {
		c.Transport, c.WriteTimeout, c.Sites[0].Origin = nil, 200*time.Millisecond, o.URL
	})
	front := httptest.NewServer(s.Handler())
	defer front.Close()
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	parts := "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, part := range append([]string{parts}, strings.Split("12345678", "")...) {
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(b), "12345678") {
		t.Errorf("got %q, %v", b, err)
	}
}
