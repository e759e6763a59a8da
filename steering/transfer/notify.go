package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/tsig"
)

// Bounds of telling one server.
const (
	notifyTries   = 6
	notifyWait    = 3 * time.Second // for an answer
	notifyBackoff = 2 * time.Second // doubled with each try
	maxNotifies   = 16              // at the same time
)

// Target is a server that is told of a zone's version (RFC 1996).
type Target struct {
	Zone   string // canonical
	Serial uint32
	Server netip.AddrPort
	Key    *tsig.Key // nil: not signed
}

// whom is what Targets are told apart by.
type whom struct {
	zone   string
	server netip.AddrPort
}

// Notifier tells servers of new versions of zones. Its methods are safe for concurrent use.
type Notifier struct {
	log   *slog.Logger
	told  *prometheus.CounterVec
	dial  dialer
	slots chan struct{}
	poked chan struct{}

	mu      sync.Mutex // guards the rest
	waiting map[whom]Target
	busy    map[whom]bool
}

// NewNotifier makes a Notifier. It starts nothing: Run does. Nil registers no metrics.
func NewNotifier(log *slog.Logger, reg prometheus.Registerer) (*Notifier, error) {
	n := &Notifier{log: log, dial: new(net.Dialer), slots: make(chan struct{}, maxNotifies),
		poked: make(chan struct{}, 1), waiting: make(map[whom]Target), busy: make(map[whom]bool),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_transfer_notifies_total",
			Help: "NOTIFY messages to secondaries, by result: taken, or failed (each try)."},
			[]string{"result"})}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if reg == nil {
		return n, nil
	}
	if err := reg.Register(n.told); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return n, nil
}

// Tell has servers told, each of the newest version that it was to be told of. It doesn't wait.
func (n *Notifier) Tell(targets ...Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range targets {
		n.waiting[whom{t.Zone, t.Server}] = t
	}
	poke(n.poked)
}

// Run tells servers until the context ends.
func (n *Notifier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		for _, t := range n.due() {
			wg.Go(func() { n.deliver(ctx, t) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.poked:
		}
	}
}

// due takes what waits and isn't being told already.
func (n *Notifier) due() []Target {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Target
	for w, t := range n.waiting {
		if !n.busy[w] {
			n.busy[w] = true
			delete(n.waiting, w)
			out = append(out, t)
		}
	}
	return out
}

// superseded reports whether a newer version waits for the same server.
func (n *Notifier) superseded(w whom) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.waiting[w]
	return ok
}

// deliver tries until the server has answered, or the last try failed: it will look by itself
// when its refresh is over.
func (n *Notifier) deliver(ctx context.Context, t Target) {
	w := whom{t.Zone, t.Server}
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.busy, w)
		poke(n.poked)
	}()
	for try := range notifyTries {
		if try > 0 && !sleep(ctx, notifyBackoff<<(try-1), nil) || n.superseded(w) {
			return
		}
		err := n.once(ctx, t)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			n.told.WithLabelValues("taken").Inc()
			n.log.Info("secondary notified", "zone", t.Zone, "serial", t.Serial,
				"server", t.Server.String())
			return
		}
		n.told.WithLabelValues("failed").Inc()
		if try == 0 || try == notifyTries-1 {
			n.log.Warn("secondary not notified", "zone", t.Zone, "server", t.Server.String(),
				"try", try+1, "err", err)
		}
	}
}

// once sends one NOTIFY over UDP and waits for its answer.
func (n *Notifier) once(ctx context.Context, t Target) error {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := n.dial.DialContext(ctx, "udp", t.Server.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing was left to write
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	raw, session, id, err := t.message()
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(notifyWait)) // a closed one fails at the write
	if _, err := conn.Write(raw); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		got, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if ours, err := judge(buf[:got], id, session); ours {
			return err
		}
	}
}

// message builds the NOTIFY, with the new SOA's serial as a hint (RFC 1996 §3.7).
func (t Target) message() ([]byte, *tsig.Session, uint16, error) {
	m := new(dns.Msg)
	m.SetNotify(t.Zone)
	m.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: t.Zone, Rrtype: dns.TypeSOA,
		Class: dns.ClassINET}, Ns: t.Zone, Mbox: t.Zone, Serial: t.Serial}}
	raw, err := m.Pack()
	if err != nil || t.Key == nil {
		return raw, nil, m.Id, err
	}
	raw, session := t.Key.Begin(raw, time.Now())
	return raw, session, m.Id, nil
}

// judge tells an answer to a NOTIFY; false: the packet is something else, or a forgery.
func judge(raw []byte, id uint16, session *tsig.Session) (ours bool, err error) {
	m := new(dns.Msg)
	if m.Unpack(raw) != nil || m.Id != id || !m.Response || m.Opcode != dns.OpcodeNotify {
		return false, nil
	}
	if session != nil {
		_, err = session.Check(raw, time.Now())
	}
	switch {
	case m.Rcode != dns.RcodeSuccess:
		return true, errors.Join(&refusedError{m.Rcode}, err)
	case errors.Is(err, tsig.ErrUnsigned):
		return false, nil
	}
	return true, err
}
