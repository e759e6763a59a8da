package app

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"pointsman/internal/config"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnsserver"
	"pointsman/steering/transfer"
	"pointsman/steering/tsig"
)

// errNoCopy says that a zone has not come from its primary yet.
var errNoCopy = fs.ErrNotExist

// keysOf converts the keys that are shared with other servers.
func keysOf(c *config.Config) (tsig.Ring, []pathMistake) {
	ring := make(tsig.Ring)
	var bad []pathMistake
	for i, k := range c.TSIGKeys {
		raw, err := base64.StdEncoding.DecodeString(k.Secret.Reveal())
		var key *tsig.Key
		if err == nil {
			key, err = tsig.New(k.Name, k.Algorithm, raw)
		}
		if err != nil { // the config's check has seen to that
			bad = append(bad, complaint(fmt.Sprintf("tsig_keys[%d]", i), err.Error()))
			continue
		}
		ring[key.Name()] = key
	}
	return ring, bad
}

// wirePeers builds what exchanges zones with other servers.
func (a *App) wirePeers(c *config.Config, in *inputs, p *parts) (err error) {
	p.secondary, err = transfer.New(transfer.Config{Dir: copiesDir(c), Take: a.takeZone,
		Absent: a.lacks, Logger: a.log, Registerer: p.registry})
	if err != nil {
		return err
	}
	if p.notifier, err = transfer.NewNotifier(a.log, p.registry); err != nil {
		return err
	}
	p.dns.SetExchange(a.exchangeOf(c, in.keys, p))
	return nil
}

// exchange puts in force with whom zones are exchanged.
func (a *App) exchange(c *config.Config, keys tsig.Ring) {
	if a.parts.dns != nil {
		a.parts.dns.SetExchange(a.exchangeOf(c, keys, a.parts))
	}
}

func (a *App) exchangeOf(c *config.Config, keys tsig.Ring, p *parts) dnsserver.Exchange {
	x := dnsserver.Exchange{Keys: keys, MaxTransfers: c.DNS.MaxTransfers,
		Zones:    make(map[string]dnsserver.Policy),
		Notified: func(zone string, _ netip.Addr) { p.secondary.Notify(zone) }}
	for _, z := range c.Zones {
		var policy dnsserver.Policy
		if t := z.Transfer; t != nil {
			policy.Keys = t.Keys
			for _, n := range t.To {
				policy.To = append(policy.To, netip.MustParsePrefix(n)) // it was checked
			}
		}
		if z.Primary != nil {
			policy.NotifyKey = z.Primary.Key
			for _, s := range z.Primary.Servers {
				policy.From = append(policy.From, netip.MustParseAddrPort(s).Addr()) // likewise
			}
		}
		x.Zones[fqdn(z.Name)] = policy
	}
	return x
}

// follow puts in force which zones are fetched, and from where.
func (a *App) follow(c *config.Config) {
	if a.parts.secondary == nil {
		return
	}
	var zones []transfer.Zone
	for _, z := range c.Zones {
		if z.Primary == nil {
			continue
		}
		tz := transfer.Zone{Name: fqdn(z.Name)}
		for _, s := range z.Primary.Servers {
			tz.Primaries = append(tz.Primaries, transfer.Primary{
				Server: netip.MustParseAddrPort(s), Key: a.keys[z.Primary.Key]})
		}
		zones = append(zones, tz)
	}
	a.parts.secondary.SetZones(zones)
}

// tellSecondaries has those told of zones whose version they were not told of.
func (a *App) tellSecondaries(l *loadedConfig) {
	if a.parts.notifier == nil {
		return
	}
	told := make(map[string]uint32)
	for i, z := range l.zones {
		t := l.config.Zones[i].Transfer
		if t == nil || z.Absent() {
			continue
		}
		told[z.Name()] = z.Serial()
		if last, ok := a.told[z.Name()]; ok && last == z.Serial() {
			continue
		}
		for _, server := range t.Notify {
			target := transfer.Target{Zone: z.Name(), Serial: z.Serial(),
				Server: netip.MustParseAddrPort(server)}
			if len(t.Keys) > 0 {
				target.Key = a.keys[t.Keys[0]]
			}
			a.parts.notifier.Tell(target)
		}
	}
	a.told = told
}

var errNotFetched = errors.New("the zone is no longer fetched")

// takeZone puts a zone from its primary in force, or says why it can't be.
func (a *App) takeZone(got *transfer.Copy) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	l := a.loaded.Load()
	i := slices.IndexFunc(l.config.Zones, func(z config.Zone) bool {
		return z.Primary != nil && fqdn(z.Name) == got.Zone
	})
	if i < 0 {
		return errNotFetched
	}
	zone, shadowed, err := zoneOfCopy(l.config, l.config.Zones[i], got)
	if err != nil {
		return err
	}
	next := *l
	next.zones = slices.Clone(l.zones)
	next.zones[i] = zone
	for _, m := range hostMistakes(l.config, next.zones) {
		return fmt.Errorf("%s: %s", m.path, m.message)
	}
	signed, signers, err := a.signZones(l.config, &inputs{zones: next.zones}, a.parts)
	if err != nil {
		return err
	}
	err = a.parts.dns.SetZones(signed)
	if errors.Is(err, dnssec.ErrUnpublished) {
		return err // it comes again, and the old ones serve on
	}
	if err != nil { // the server tries again
		a.log.Error("zones not signed, the old ones serve on", "err", err)
	}
	a.keepSigners(signers)
	if len(shadowed) > 0 && !slices.Equal(shadowed, a.received[got.Zone].shadowed) {
		a.log.Warn("records of the primary at steered names are not served", "zone", got.Zone,
			"host", strings.Join(shadowed, ", "))
	}
	a.received[got.Zone] = receivedZone{copy: got, shadowed: shadowed}
	next.warnings = a.received.warnings(l.warned)
	a.loaded.Store(&next)
	a.parts.events.Add("zone", fmt.Sprintf("zone %s, serial %d, came from its primary",
		strings.TrimSuffix(got.Zone, "."), got.Serial), nil)
	a.tellSecondaries(&next)
	return nil
}
