package dnsserver

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/tap"
	"pointsman/steering/wire"
)

// observer is what a responder shows to the tap. It belongs to the responder's goroutine.
type observer struct {
	source *tap.Source
	server netip.AddrPort
	event  tap.Event // reused, so that nothing is allocated
	picks  [tap.MaxPicks]tap.Pick

	outcome outcome // of the last packet that took the ordinary path
}

// newObserver returns what the n-th responder shows; nil without a tap.
func (s *Server) newObserver(n int) *observer {
	if s.cfg.Tap == nil {
		return nil
	}
	return &observer{source: s.cfg.Tap.Source(n)}
}

// servedAt notes the address that packets come to. A socket for several addresses is known by its
// port alone.
func (w *responder) servedAt(a net.Addr) {
	if w.tap == nil {
		return
	}
	switch a := a.(type) {
	case *net.UDPAddr:
		w.tap.server = a.AddrPort()
	case *net.TCPAddr:
		w.tap.server = a.AddrPort()
	}
	if addr := w.tap.server.Addr(); addr.IsUnspecified() {
		w.tap.server = netip.AddrPortFrom(netip.Addr{}, w.tap.server.Port())
	}
}

// due counts one answered packet, and reports whether it may have to be shown. With fast the
// answer is the memo's, and picked says whether something was picked.
func (t *observer) due(fast, picked bool) bool {
	return t.source.Due(t.steered(fast, picked))
}

func (t *observer) steered(fast, picked bool) bool {
	if fast {
		return picked
	}
	return len(t.outcome.picks) > 0
}

// show offers an event to the sinks that want it. With fast the answer is the memo's, and the
// place has the draw of what it picked, if anything.
func (w *responder) show(in *ask, out []byte, st *state, fast bool, p *place, now time.Time) {
	to := w.tap.source.Chosen(w.tap.steered(fast, p.picked))
	if to == 0 {
		return
	}
	t, o := w.tap, &w.tap.outcome
	e := &t.event
	*e = tap.Event{At: now, Proto: tap.UDP, Server: t.server,
		Client: netip.AddrPortFrom(in.from, in.port), Query: in.packet, Answer: out}
	if to.Timed() {
		e.Done = w.s.now(time.Now())
	}
	switch {
	case in.tls:
		e.Proto = tap.DOT
	case in.tcp:
		e.Proto = tap.TCP
	}
	e.Table, _ = st.table.(*steering.Table)
	if fast {
		q := &w.query
		e.Type, e.DO, e.ECS, e.Prefix = q.Type, q.DO, q.Client.IsValid(), w.client(in.from)
		if found, _ := st.memo.find(q); found != nil && found.host != "" {
			t.picks[0] = tap.Pick{Host: found.host, Draw: p.draw}
			e.Picks = t.picks[:1]
		}
	} else {
		e.Type, e.DO, e.ECS, e.Prefix = o.qtype, o.do, o.ecs, o.client
		n := min(len(o.picks), len(t.picks))
		for i := range n {
			t.picks[i] = tap.Pick{Host: o.picks[i].host, Draw: o.draws[i]}
		}
		e.Picks = t.picks[:n]
	}
	t.source.Offer(to, e)
}

// runTap runs the tap, and returns what stops it: after the last answer, so that it is shown too.
func (s *Server) runTap(ctx context.Context) (stop func() error) {
	if s.cfg.Tap == nil {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	var err error
	zones := apexes{s: s}
	wg.Go(func() { err = s.cfg.Tap.Run(ctx, zones.above) })
	return func() error {
		cancel()
		wg.Wait()
		return err
	}
}

// apexes finds the zones of names on the wire. It belongs to one goroutine.
type apexes struct {
	s     *Server
	zones []*Zone // those that set was made from
	set   map[string]struct{}
	name  [256]byte
}

// above returns the apex of the deepest zone that a name lies in, by the zones that are served
// now; nil when there is none. It is valid until the next call.
func (a *apexes) above(name []byte) []byte {
	if zones := a.s.current.Load().zones; a.set == nil || !slices.Equal(zones, a.zones) {
		a.zones, a.set = zones, make(map[string]struct{}, len(zones))
		for _, z := range zones {
			var buf [256]byte
			if n, err := dns.PackDomainName(z.name, buf[:], 0, nil, false); err == nil {
				a.set[string(buf[:n])] = struct{}{}
			}
		}
	}
	lower := a.name[:copy(a.name[:], name)]
	wire.Lower(lower)
	for len(lower) > 0 {
		if _, ok := a.set[string(lower)]; ok {
			return lower
		}
		if lower[0] == 0 {
			break
		}
		lower = lower[1+int(lower[0]):]
	}
	return nil
}
