package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// question is what an asker asks, and what is wrong with an answer; "" is nothing.
type question struct {
	wire  []byte
	about dns.Question
	judge func(*dns.Msg) string
}

func ask(name string, qtype uint16, judge func(*dns.Msg) string, options ...dns.EDNS0) question {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = options
	wire, err := m.Pack()
	if err != nil {
		panic(err) // the questions are constants
	}
	return question{wire: wire, about: m.Question[0], judge: judge}
}

// asker asks like a resolver: each query of one node first, of the next when no answer comes.
type asker struct {
	nodes     []string
	questions []question
	// patience is how long all nodes together may owe an answer.
	patience time.Duration

	answered, again, overTCP atomic.Uint64

	mu  sync.Mutex
	bad []string
}

const (
	window   = 32                     // queries that one worker has open
	tryAgain = 300 * time.Millisecond // when a resolver asks another server
	oneTCP   = 50                     // one round in so many goes over TCP
)

func (a *asker) fault(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bad = append(a.bad, time.Now().Format(time.TimeOnly)+" "+fmt.Sprintf(format, args...))
}

// run asks with some workers until ctx ends.
func (a *asker) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { a.work(ctx, w) })
	}
	wg.Wait()
}

// work asks a window of queries at a time.
func (a *asker) work(ctx context.Context, seed int) {
	conns := make([]*net.UDPConn, len(a.nodes))
	for i, n := range a.nodes {
		c, err := net.Dial("udp", n)
		if err != nil {
			a.fault("%v", err)
			return
		}
		defer c.Close()
		conns[i] = c.(*net.UDPConn)
	}
	for n := seed; ctx.Err() == nil; n++ {
		var open [window]*question
		for i := range open {
			open[i] = &a.questions[(n+i)%len(a.questions)]
		}
		if n%oneTCP == 0 {
			a.askTCP(a.nodes, open[0])
		}
		a.round(conns, n, &open)
	}
}

// round asks until every query has an answer, or patience is over.
func (a *asker) round(conns []*net.UDPConn, n int, open *[window]*question) {
	began := time.Now()
	for try := 0; ; try++ {
		left := a.tryOne(conns[(n+try)%len(conns)], uint16(n*window), open)
		if left == 0 {
			return
		}
		if time.Since(began) > a.patience {
			a.fault("%d queries had no answer from any node in %s", left, a.patience)
			return
		}
		a.again.Add(uint64(left))
	}
}

// tryOne sends what is open to one node, and takes its answers. It returns how many are missing.
func (a *asker) tryOne(c *net.UDPConn, id uint16, open *[window]*question) (left int) {
	for i, q := range open {
		if q != nil {
			p := append([]byte{byte((id + uint16(i)) >> 8), byte(id + uint16(i))}, q.wire[2:]...)
			_, _ = c.Write(p) // what is not sent is not answered
			left++
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(tryAgain)) // the socket is open
	buf := make([]byte, 4096)
	for left > 0 {
		size, err := c.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				pause(5 * time.Millisecond) // nobody listens for now
			}
			return left
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:size]); err != nil {
			a.fault("an answer of %d octets: %v", size, err)
			continue
		}
		i := m.Id - id
		if i >= window || open[i] == nil {
			continue // late: it was asked again since
		}
		a.take(m, open[i])
		open[i] = nil
		left--
	}
	return 0
}

func (a *asker) take(m *dns.Msg, q *question) {
	a.answered.Add(1)
	switch {
	case !m.Response || len(m.Question) != 1 || m.Question[0] != q.about:
		a.fault("asked %v, got\n%v", q.about, m)
	default:
		if wrong := q.judge(m); wrong != "" {
			a.fault("%s %s: %s", q.about.Name, dns.TypeToString[q.about.Qtype], wrong)
		}
	}
}

// askTCP asks one query of whichever node takes it.
func (a *asker) askTCP(nodes []string, q *question) {
	m := new(dns.Msg)
	if err := m.Unpack(q.wire); err != nil {
		a.fault("%v", err)
		return
	}
	client := &dns.Client{Net: "tcp", Timeout: time.Second}
	for began := time.Now(); time.Since(began) < a.patience; pause(5 * time.Millisecond) {
		for _, n := range nodes {
			if r, _, err := client.Exchange(m, n); err == nil {
				a.take(r, q)
				a.overTCP.Add(1)
				return
			}
		}
	}
	a.fault("%s over TCP: no answer from any node in %s", q.about.Name, a.patience)
}

// pause waits.
func pause(d time.Duration) { <-time.After(d) }

// names judges answers that must name a part of the world, by addresses or another name.
func names(known ...string) func(*dns.Msg) string {
	set := make(map[string]bool, len(known))
	for _, k := range known {
		set[k] = true
	}
	return func(m *dns.Msg) string {
		if m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
			return fmt.Sprintf("%s with %d records", dns.RcodeToString[m.Rcode], len(m.Answer))
		}
		for _, rr := range m.Answer {
			text := strings.TrimPrefix(rr.String(), rr.Header().String())
			if rr.Header().Name != m.Question[0].Name || !set[text] {
				return rr.String()
			}
		}
		return ""
	}
}

// denied judges answers that there is no such name here, by a code and a zone that says so.
func denied(rcode int, zone string) func(*dns.Msg) string {
	return func(m *dns.Msg) string {
		if m.Rcode != rcode || len(m.Answer) > 0 {
			return fmt.Sprintf("%s with %d records", dns.RcodeToString[m.Rcode], len(m.Answer))
		}
		for _, rr := range m.Ns {
			if rr.Header().Name != zone {
				return "denied by " + rr.String()
			}
		}
		if (zone != "") != (len(m.Ns) > 0) {
			return fmt.Sprintf("denied by %d records", len(m.Ns))
		}
		return ""
	}
}
