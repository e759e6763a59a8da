package cluster_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// TestAStopUnderLoadIsGraceful stops a node that answers queries, delivers a slow page
// through its edge and feeds a live view.
func TestAStopUnderLoadIsGraceful(t *testing.T) {
	p := newPlain(t)
	startSite(t, p.lane.addr(15, p.port))
	for n := 11; n <= 13; n++ {
		startSite(t, p.lane.addr(n, p.port))
	}
	n := p.serve(t)
	n.ready(t)
	n.healthy(t, "alpha", "bravo", "charlie")

	view, err := http.Get("http://" + p.admin + "/v1/stream")
	if err != nil || view.StatusCode != http.StatusOK {
		t.Fatalf("opening the live stream: %v, %+v", err, view)
	}
	defer view.Body.Close()
	if _, err := bufio.NewReader(view.Body).ReadString('\n'); err != nil {
		t.Fatalf("reading the live stream: %v", err)
	}
	slow := make(chan string, 1)
	began := make(chan struct{})
	go func() { slow <- download("http://"+p.edge+"/slow", began) }()
	<-began

	l := &load{server: p.dns, rate: 2000,
		questions: []dns.Question{{Name: steered, Qtype: dns.TypeA, Qclass: dns.ClassINET}},
		check: func(_ dns.Question, m *dns.Msg, _, _ time.Time) error {
			_, err := p.as.backend(m)
			return err
		}}
	l.start(t)
	await(t, 10*time.Second, "the load runs", func() bool { return l.sent() > 1000 })
	asked := time.Now()
	took := n.stop(t, 10*time.Second)
	l.halt()
	t.Logf("stopped in %v, with %d queries sent", took.Round(time.Millisecond), l.sent())
	for _, at := range l.lost() {
		if at.Before(asked) {
			t.Errorf("a query sent %v before the signal was lost", asked.Sub(at))
		}
	}
	for _, err := range l.complaints() {
		if strings.Contains(err.Error(), "answered") || strings.Contains(err.Error(), "names no") {
			t.Error(err) // silence is right after the stop, a wrong answer never
		}
	}
	if diff := cmp.Diff(strings.Repeat(page, 20), <-slow); diff != "" {
		t.Errorf("the page in delivery was cut: %s", diff)
	}
	if log := n.out.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log has errors:\n%s", log)
	}
	want := []string{"pointsman.yaml", "state/pointsman.db"}
	if diff := cmp.Diff(want, leftovers(t, p.dir)); diff != "" {
		t.Errorf("files left behind: %s", diff)
	}
	again := p.serve(t)
	again.ready(t)
	again.stop(t, 10*time.Second)
}

func TestASecondSignalEndsAtOnceWhatTheFirstWaitsFor(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	startSite(t, p.lane.addr(15, p.port))
	n := p.serve(t)
	n.ready(t)
	slow, began := make(chan string, 1), make(chan struct{})
	go func() { slow <- download("http://"+p.edge+"/slow", began) }()
	<-began
	n.signal(syscall.SIGTERM)
	await(t, 5*time.Second, "the stop has begun", func() bool {
		return strings.Contains(n.out.String(), "node stopping")
	})
	if !n.running() {
		t.Fatal("the node did not wait for the page in delivery")
	}
	n.signal(syscall.SIGTERM)
	took := await(t, 5*time.Second, "the node has ended", func() bool { return !n.running() })
	if took > time.Second {
		t.Errorf("the end took %v", took)
	}
	<-slow
}

// download gets a page for the steered name, and says when its first byte has come.
func download(url string, began chan<- struct{}) string {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	req.Host, req.Close = "cdn.example.test", true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		close(began)
		return err.Error()
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	_, _ = r.Peek(1)
	close(began)
	body, err := io.ReadAll(r)
	if err != nil {
		return string(body) + err.Error()
	}
	return string(body)
}
