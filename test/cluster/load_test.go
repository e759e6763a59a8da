package cluster_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A load sends queries at a steady rate over several UDP sockets, whatever comes back, and
// over one TCP connection beside them. Every query is sent once.
type load struct {
	server string
	rate   int // UDP queries a second
	// questions are asked in turn.
	questions []dns.Question
	// check says what is wrong with an answer, given when its query was sent and it came.
	check func(q dns.Question, m *dns.Msg, sent, came time.Time) error

	quit    chan struct{}
	halted  time.Time // when the sending ended; set before quit is closed
	sending sync.WaitGroup
	reading sync.WaitGroup
	sockets []*loadSocket
	tcp     atomic.Int64

	mu    sync.Mutex // guards what follows
	took  []time.Duration
	wrong []error
}

// loadSocket is one UDP socket. Its queries have rising IDs, so none is used twice at a time.
type loadSocket struct {
	conn *net.UDPConn

	mu   sync.Mutex // guards open and sent
	open map[uint16]pending
	sent int
}

type pending struct {
	question dns.Question
	at       time.Time
}

const loadSockets = 8

func (l *load) start(t *testing.T) {
	t.Helper()
	l.quit = make(chan struct{})
	to, err := net.ResolveUDPAddr("udp", l.server)
	if err != nil {
		t.Fatal(err)
	}
	for range loadSockets {
		conn, err := net.DialUDP("udp", nil, to)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadBuffer(4 << 20) // the system may grant less
		s := &loadSocket{conn: conn, open: map[uint16]pending{}}
		l.sockets = append(l.sockets, s)
		l.reading.Go(func() { l.read(s) })
	}
	l.sending.Go(l.send)
	l.sending.Go(l.askTCP)
	t.Cleanup(l.close)
}

// send keeps the pace: after a pause it catches up, but never by more than a few packets at
// once, which would test the socket's buffer instead of the program.
func (l *load) send() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, n := time.Now(), 0
	for {
		select {
		case <-l.quit:
			return
		case <-tick.C:
		}
		due := int(time.Since(began).Seconds() * float64(l.rate))
		for burst := 0; n < due && burst < 16; burst++ {
			s := l.sockets[n%len(l.sockets)]
			if err := s.send(l.questions[(n/len(l.sockets))%len(l.questions)]); err != nil {
				l.complain(fmt.Errorf("sending: %w", err))
			}
			n++
		}
	}
}

func (s *loadSocket) send(q dns.Question) error {
	s.mu.Lock()
	id := uint16(s.sent)
	s.sent++
	s.open[id] = pending{q, time.Now()}
	s.mu.Unlock()
	m := dns.Msg{MsgHdr: dns.MsgHdr{Id: id}, Question: []dns.Question{q}}
	packet, err := m.Pack()
	if err == nil {
		_, err = s.conn.Write(packet)
	}
	return err
}

// read takes answers in until the socket is closed. Other errors, such as a port that is no
// longer open, show in what is lost.
func (l *load) read(s *loadSocket) {
	buf := make([]byte, 4096)
	for {
		n, err := s.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		came := time.Now()
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil {
			l.complain(fmt.Errorf("reading an answer: %w", err))
			continue
		}
		s.mu.Lock()
		p, ok := s.open[m.Id]
		delete(s.open, m.Id)
		s.mu.Unlock()
		if !ok {
			l.complain(fmt.Errorf("an answer to nothing: %v", m.Question))
			continue
		}
		l.take(p.question, m, p.at, came)
	}
}

func (l *load) take(q dns.Question, m *dns.Msg, sent, came time.Time) {
	err := l.check(q, m, sent, came)
	l.mu.Lock()
	l.took = append(l.took, came.Sub(sent))
	l.mu.Unlock()
	if err != nil {
		l.complain(fmt.Errorf("at %s, %s %s: %w", sent.Format("15:04:05.000"), q.Name,
			dns.TypeToString[q.Qtype], err))
	}
}

// askTCP asks over one connection, a hundred times a second.
func (l *load) askTCP() {
	a := newAsker("tcp", l.server)
	defer a.close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.quit:
			return
		case <-tick.C:
		}
		q, sent := l.questions[n%len(l.questions)], time.Now()
		m, err := a.ask(q.Name, q.Qtype)
		if err != nil {
			l.complain(fmt.Errorf("at %s over TCP: %w", sent.Format("15:04:05.000"), err))
			continue
		}
		l.tcp.Add(1)
		l.take(q, m, sent, time.Now())
	}
}

func (l *load) complain(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, err)
}

func (l *load) complaints() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.wrong)
}

// halt ends the sending.
func (l *load) halt() {
	if l.halted.IsZero() {
		l.halted = time.Now()
		close(l.quit)
		l.sending.Wait()
	}
}

func (l *load) close() {
	l.halt()
	for _, s := range l.sockets {
		s.conn.Close()
	}
	l.reading.Wait()
}

// lost returns the queries that have no answer, by when they were sent.
func (l *load) lost() []time.Time {
	var at []time.Time
	for _, s := range l.sockets {
		s.mu.Lock()
		for _, p := range s.open {
			at = append(at, p.at)
		}
		s.mu.Unlock()
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

func (l *load) sent() int {
	n := 0
	for _, s := range l.sockets {
		s.mu.Lock()
		n += s.sent
		s.mu.Unlock()
	}
	return n
}

// report waits for the last answers and fails the test for each that was wrong or is missing.
func (l *load) report(t *testing.T) {
	t.Helper()
	l.halt()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(l.lost()) > 0 && time.Now().Before(deadline) {
		<-tick.C
	}
	if lost := l.lost(); len(lost) > 0 {
		t.Errorf("%d of %d queries were lost, the first sent at %s; packets dropped before the "+
			"program could read them: %s", len(lost), l.sent(), lost[0].Format("15:04:05.000"),
			drops(t, l.server))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, err := range l.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		t.Error(err)
	}
	slices.Sort(l.took)
	if len(l.took) == 0 {
		t.Fatal("nothing was answered")
	}
	t.Logf("%d queries over UDP and %d over TCP: %d wrong; median %v, 99%% %v, slowest %v",
		l.sent(), l.tcp.Load(), len(l.wrong), l.took[len(l.took)/2],
		l.took[len(l.took)*99/100], l.took[len(l.took)-1])
}

// drops is what Linux says of full buffers of the server's sockets and of all others.
func drops(t *testing.T, server string) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return err.Error()
	}
	addr, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	ip := addr.IP.To4()
	mine := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], addr.Port)
	var found []string
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.Fields(line)
		if len(f) < 13 || (f[1] != mine && f[2] != mine) {
			continue
		}
		whose := "a client's"
		if f[1] == mine {
			whose = "the server's"
		}
		found = append(found, fmt.Sprintf("%s %s", whose, f[len(f)-1]))
	}
	return strings.Join(found, ", ")
}
