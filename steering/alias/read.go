package alias

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// maxChain is the number of CNAMEs that are followed, over all answers of one question.
const maxChain = 12

// maxTTL is the longest TTL there is; one above it counts as 0 (RFC 2181 §8).
const maxTTL = 1<<31 - 1

var errLoop = errors.New("its CNAMEs form a loop, or a chain that is too long")

// belongs reports whether a message answers a question: its number, and the question as a whole
// (RFC 5452 §9.1). One that doesn't is not from whom it was asked, or late.
func belongs(q, a *dns.Msg) bool {
	return a.Response && a.Id == q.Id && a.Opcode == dns.OpcodeQuery && len(a.Question) == 1 &&
		dns.CanonicalName(a.Question[0].Name) == dns.CanonicalName(q.Question[0].Name) &&
		a.Question[0].Qtype == q.Question[0].Qtype && a.Question[0].Qclass == q.Question[0].Qclass
}

// chase is how far along a chain of CNAMEs the answers to one question have led.
type chase struct {
	name  string // where the chain stands: canonical
	rtype uint16
	ttl   uint32 // the shortest along it
	links int
}

// read takes a message in that belongs to a question for the chase's name. It returns false when
// the chain goes on beyond the message, so that its next name must be asked for.
func (c *chase) read(a *dns.Msg) (outcome, bool) {
	if a.Rcode != dns.RcodeSuccess && a.Rcode != dns.RcodeNameError {
		return failure(fmt.Errorf("%s", rcode(a.Rcode))), true
	}
	aliases := make(map[string]*dns.CNAME)
	for _, rr := range a.Answer {
		if cname, ok := rr.(*dns.CNAME); ok && rr.Header().Class == dns.ClassINET {
			aliases[dns.CanonicalName(cname.Hdr.Name)] = cname
		}
	}
	asked := c.name
	for aliases[c.name] != nil {
		if c.links++; c.links > maxChain {
			return failure(errLoop), true
		}
		c.ttl = min(c.ttl, seconds(aliases[c.name].Hdr.Ttl))
		c.name = dns.CanonicalName(aliases[c.name].Target)
	}
	if addrs := c.addresses(a.Answer); len(addrs) > 0 {
		return outcome{result: resultAnswered, addrs: addrs,
			ttl: time.Duration(c.ttl) * time.Second}, true
	}
	switch {
	case a.Rcode == dns.RcodeNameError: // of the chain's last name (RFC 6604 §3)
		return outcome{result: resultNoName}, true
	case c.name != asked && !denied(a):
		return outcome{}, false
	}
	return outcome{result: resultEmpty}, true
}

// addresses gathers those at the chain's end that can be answered to others, in order and each
// once, and minds their TTL. 0.0.0.0 and the like are what a filter says instead of nothing.
func (c *chase) addresses(rrs []dns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != c.rtype || h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != c.name {
			continue
		}
		addr := addressOf(rr)
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
			continue
		}
		c.ttl = min(c.ttl, seconds(h.Ttl))
		out = append(out, addr)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// addressOf returns the address of an A or AAAA record. IPv4 in an AAAA record isn't one.
func addressOf(rr dns.RR) netip.Addr {
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ := netip.AddrFromSlice(rr.A)
		return addr.Unmap()
	case *dns.AAAA:
		if addr, ok := netip.AddrFromSlice(rr.AAAA); ok && !addr.Is4() && !addr.Is4In6() {
			return addr
		}
	}
	return netip.Addr{}
}

// denied reports whether a message has the SOA that comes with a denial (RFC 2308 §2.2).
func denied(a *dns.Msg) bool {
	return slices.ContainsFunc(a.Ns, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeSOA
	})
}

func seconds(ttl uint32) uint32 {
	if ttl > maxTTL {
		return 0
	}
	return ttl
}

func failure(err error) outcome { return outcome{result: resultFailed, err: err} }

func rcode(code int) string {
	if text := dns.RcodeToString[code]; text != "" {
		return text
	}
	return fmt.Sprintf("RCODE%d", code)
}
