package cluster_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience is after how long an unanswered query counts as lost. On loopback nothing is
// repeated: one lost query is a failure.
const patience = 5 * time.Second

// zone is the one that every node here serves, and steered is its name of interest.
const (
	zone    = "example.test."
	steered = "cdn.example.test."
)

// asker asks one nameserver over one protocol, one query at a time, on one socket.
type asker struct {
	client dns.Client
	server string
	conn   *dns.Conn
}

func newAsker(network, server string) *asker {
	return &asker{client: dns.Client{Net: network, Timeout: patience}, server: server}
}

func (a *asker) close() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// ask sends one query and reads its answer. After a failure the next query gets a new socket.
func (a *asker) ask(name string, qtype uint16) (*dns.Msg, error) {
	if a.conn == nil {
		conn, err := a.client.Dial(a.server)
		if err != nil {
			return nil, err
		}
		a.conn = conn
	}
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	reply, _, err := a.client.ExchangeWithConn(m, a.conn)
	if err != nil {
		a.close()
	}
	return reply, err
}

// answers maps what stands in an answer to the backend that it means: CNAME targets, and
// addresses as text.
type answers map[string]string

// backend reads the one backend that an answer to a query for the steered name's A names. An
// error says what is wrong with the answer: nothing may be.
func (as answers) backend(m *dns.Msg) (string, error) {
	if m.Rcode != dns.RcodeSuccess {
		return "", fmt.Errorf("answered %s", dns.RcodeToString[m.Rcode])
	}
	if !m.Authoritative || m.Truncated {
		return "", errors.New("not authoritative, or truncated")
	}
	owner, named, address := steered, "", ""
	for _, rr := range m.Answer {
		if rr.Header().Name != owner {
			return "", fmt.Errorf("%q does not belong to %s", rr, owner)
		}
		key := ""
		switch rr := rr.(type) {
		case *dns.CNAME:
			owner, key = rr.Target, rr.Target
		case *dns.A:
			address = rr.A.String()
			key = address
		}
		b, ok := as[key]
		if !ok || (named != "" && b != named) {
			return "", fmt.Errorf("%q names no backend, or a second one", rr)
		}
		named = b
	}
	if address == "" {
		return "", fmt.Errorf("no address in %d records", len(m.Answer))
	}
	return named, nil
}

// counts says how often each backend was named.
type counts map[string]int

func (c counts) total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

func (c counts) share(backend string) float64 {
	return float64(c[backend]) / float64(max(c.total(), 1))
}

func (c counts) String() string {
	var parts []string
	for _, b := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s %.2f%%", b, 100*c.share(b)))
	}
	return strings.Join(parts, ", ")
}

// burst asks for the steered name n times, over UDP and TCP, and fails for any wrong answer.
func burst(t *testing.T, server string, as answers, n int) counts {
	t.Helper()
	var (
		mu  sync.Mutex // guards got and bad
		got = counts{}
		bad []error
		wg  sync.WaitGroup
	)
	networks := []string{"udp", "udp", "tcp", "tcp"}
	for i, network := range networks {
		share := n / len(networks)
		if i == 0 {
			share += n % len(networks)
		}
		wg.Go(func() {
			a := newAsker(network, server)
			defer a.close()
			for j := range share {
				if network == "tcp" && j%100 == 99 {
					a.close() // a connection of its own now and then
				}
				m, err := a.ask(steered, dns.TypeA)
				name := ""
				if err == nil {
					name, err = as.backend(m)
				}
				mu.Lock()
				if err != nil {
					bad = append(bad, fmt.Errorf("%s: %w", network, err))
				} else {
					got[name]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(bad) > 0 {
		t.Fatalf("%d of %d answers are wrong, the first: %v", len(bad), n, bad[0])
	}
	return got
}

// watcher asks all the time in the background and remembers every answer.
type watcher struct {
	wg   sync.WaitGroup
	quit chan struct{}
	end  func() // ends the asking; may be called twice

	mu   sync.Mutex // guards what follows
	seen []sighting // in the order of the answers
	bad  []error
}

// sighting is an answer that named a backend; at is when it was asked for.
type sighting struct {
	at      time.Time
	backend string
}

// watch starts a watcher. Its end fails the test if any answer was wrong or missing.
func watch(t *testing.T, server string, as answers) *watcher {
	w := &watcher{quit: make(chan struct{})}
	for _, network := range []string{"udp", "udp", "udp", "tcp"} {
		w.wg.Go(func() { w.run(network, server, as) })
	}
	w.end = sync.OnceFunc(func() {
		close(w.quit)
		w.wg.Wait()
	})
	t.Cleanup(func() {
		w.end()
		t.Logf("watched %d answers meanwhile", len(w.seen))
		if len(w.bad) > 0 {
			t.Errorf("%d of %d answers were wrong or missing, the first: %v",
				len(w.bad), len(w.bad)+len(w.seen), w.bad[0])
		}
	})
	return w
}

func (w *watcher) run(network, server string, as answers) {
	a := newAsker(network, server)
	defer a.close()
	tick := time.NewTicker(8 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		at := time.Now()
		m, err := a.ask(steered, dns.TypeA)
		name := ""
		if err == nil {
			name, err = as.backend(m)
		}
		w.mu.Lock()
		if err != nil {
			w.bad = append(w.bad, fmt.Errorf("at %s over %s: %w",
				at.Format("15:04:05.000"), network, err))
		} else {
			w.seen = append(w.seen, sighting{at, name})
		}
		w.mu.Unlock()
	}
}

// between counts the answers to questions asked in a span of time.
func (w *watcher) between(from, to time.Time) counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := counts{}
	for _, s := range w.seen {
		if !s.at.Before(from) && s.at.Before(to) {
			c[s.backend]++
		}
	}
	return c
}

// first returns when a backend was first named after a time; zero if it was not.
func (w *watcher) first(after time.Time, backends ...string) time.Time {
	return w.find(after, backends, func(have, found time.Time) bool {
		return found.IsZero() || have.Before(found)
	})
}

// last returns when any of some backends was last named after a time; zero if none was.
func (w *watcher) last(after time.Time, backends ...string) time.Time {
	return w.find(after, backends, func(have, found time.Time) bool { return have.After(found) })
}

func (w *watcher) find(
	after time.Time, backends []string, better func(have, found time.Time) bool,
) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found time.Time
	for _, s := range w.seen {
		if s.at.After(after) && slices.Contains(backends, s.backend) && better(s.at, found) {
			found = s.at
		}
	}
	return found
}
