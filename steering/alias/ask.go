package alias

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// patience is how long one resolver is waited for.
	patience = 1500 * time.Millisecond
	// lookUpLimit bounds all questions about a name.
	lookUpLimit = 10 * time.Second
	// udpSize is the largest answer that is taken by UDP, as RFC 9715 §3.2 advises.
	udpSize = 1232
	// resolvConf names the system's resolvers.
	resolvConf = "/etc/resolv.conf"
)

// lookUp is the outcome of asking for both families of a name.
type lookUp struct {
	v4, v6    outcome
	cancelled bool // the caller gave up: nothing is known
}

// err is what went wrong; nil when only the name itself is to blame.
func (l lookUp) err() error { return errors.Join(l.v4.err, l.v6.err) }

// lookUp asks for the addresses of a name, both families at once.
func (r *Resolver) lookUp(ctx context.Context, name string) lookUp {
	servers, err := r.serversNow()
	if err != nil {
		return lookUp{v4: failure(err), v6: failure(err)}
	}
	limited, cancel := context.WithTimeout(ctx, lookUpLimit)
	defer cancel()
	var l lookUp
	var wg sync.WaitGroup
	wg.Go(func() { l.v4 = resolve(limited, servers, name, dns.TypeA) })
	wg.Go(func() { l.v6 = resolve(limited, servers, name, dns.TypeAAAA) })
	wg.Wait()
	l.cancelled = ctx.Err() != nil
	return l
}

// serversNow returns the resolvers to ask.
func (r *Resolver) serversNow() ([]netip.AddrPort, error) {
	if servers := *r.servers.Load(); len(servers) > 0 {
		return servers, nil
	}
	return systemServers(resolvConf)
}

// systemServers reads the resolvers from a file in the format of resolv.conf(5).
func systemServers(path string) ([]netip.AddrPort, error) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the system's resolvers: %w", err)
	}
	var out []netip.AddrPort
	for _, text := range c.Servers {
		if addr, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.AddrPortFrom(addr, 53))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s names no resolver; set dns.resolvers", path)
	}
	return out, nil
}

// resolve asks the servers in turn until one gives an answer that can be used.
func resolve(ctx context.Context, servers []netip.AddrPort, name string, rtype uint16) outcome {
	var errs []error
	for _, server := range servers {
		o := follow(ctx, server, name, rtype)
		if o.result != resultFailed {
			return o
		}
		errs = append(errs, fmt.Errorf("asking %s for %s of %s: %w", server, dns.Type(rtype), name,
			o.err))
		if ctx.Err() != nil {
			break
		}
	}
	return failure(errors.Join(errs...))
}

// follow asks one server, along a chain of CNAMEs should it not follow that by itself.
func follow(ctx context.Context, server netip.AddrPort, name string, rtype uint16) outcome {
	c := chase{name: name, rtype: rtype, ttl: maxTTL}
	for {
		a, err := exchange(ctx, server, c.name, rtype)
		if err != nil {
			return failure(err)
		}
		if o, done := c.read(a); done {
			return o
		}
	}
}

// exchange asks one question over UDP, and over TCP when the answer was cut off. The port is
// another one for each question, chosen by the system, and so is the random number.
func exchange(ctx context.Context, server netip.AddrPort, name string, rtype uint16) (
	*dns.Msg, error,
) {
	q := new(dns.Msg)
	q.SetQuestion(name, rtype)
	q.SetEdns0(udpSize, false)
	a, err := talk(ctx, "udp", server, q)
	if err == nil && a.Truncated {
		a, err = talk(ctx, "tcp", server, q)
	}
	if err == nil && a.Truncated {
		err = errors.New("its answer is cut off over TCP too")
	}
	return a, err
}

// talk sends a question and waits for the message that answers it. Others are passed over, so
// that nobody who guesses wrong can end the wait.
func talk(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (
	*dns.Msg, error,
) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }() // nothing is unsaid
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &dns.Conn{Conn: raw, UDPSize: udpSize}
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	strange := 0
	for {
		a, err := conn.ReadMsg()
		var broken net.Error
		switch {
		case err == nil && belongs(q, a):
			return a, nil
		case ctx.Err() != nil && strange > 0:
			return nil, fmt.Errorf("no answer, but %d packets that answer something else", strange)
		case ctx.Err() != nil:
			return nil, errors.New("no answer in time")
		case err != nil && (network == "tcp" || errors.As(err, &broken)):
			return nil, err
		}
		strange++
	}
}
