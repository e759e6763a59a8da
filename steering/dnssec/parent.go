package dnssec

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// sameDS reports whether two DS records name the same key by the same digest.
func sameDS(a, b *dns.DS) bool {
	return a.KeyTag == b.KeyTag && a.Algorithm == b.Algorithm && a.DigestType == b.DigestType &&
		strings.EqualFold(a.Digest, b.Digest)
}

// Ask returns a function for Config.Parent that asks servers (host:port each) for a zone's DS
// records, over TCP so that nobody off the path can forge the answer. They are the parent's own
// servers or resolvers. All that answer must agree: a step is taken only when every server of
// the parent has the new record. One that can't be reached is an error too.
func Ask(servers []string) func(ctx context.Context, zone string) ([]*dns.DS, error) {
	return func(ctx context.Context, zone string) ([]*dns.DS, error) {
		var common []*dns.DS
		for i, server := range servers {
			got, err := askDS(ctx, server, zone)
			if err != nil {
				return nil, fmt.Errorf("asking %s for the DS of %s: %w", server, zone, err)
			}
			if i == 0 {
				common = got
				continue
			}
			common = both(common, got)
		}
		return common, nil
	}
}

func askDS(ctx context.Context, server, zone string) ([]*dns.DS, error) {
	m := new(dns.Msg)
	m.SetQuestion(zone, dns.TypeDS)
	c := dns.Client{Net: "tcp"}
	a, _, err := c.ExchangeContext(ctx, m, server)
	switch {
	case err != nil:
		return nil, err
	case a.Rcode != dns.RcodeSuccess:
		return nil, errors.New(dns.RcodeToString[a.Rcode])
	}
	var out []*dns.DS
	for _, rr := range a.Answer {
		if ds, ok := rr.(*dns.DS); ok && dns.CanonicalName(ds.Hdr.Name) == zone {
			out = append(out, ds)
		}
	}
	return out, nil
}

// both returns the records that are in both lists.
func both(a, b []*dns.DS) []*dns.DS {
	var out []*dns.DS
	for _, x := range a {
		for _, y := range b {
			if sameDS(x, y) {
				out = append(out, x)
				break
			}
		}
	}
	return out
}
