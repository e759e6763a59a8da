package app

import (
	"context"
	"fmt"
	"reflect"

	"pointsman/internal/config"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnssec/publish"
	"pointsman/steering/dnsserver"
)

// signers hold the signer of each signed zone over reloads, by the zone's name. A zone whose
// dnssec did not change keeps its signer, and with it the signatures made so far.
type signers map[string]zoneSigner

type zoneSigner struct {
	config config.DNSSEC
	signer interface {
		dnsserver.ZoneSigner
		Forget()
	}
	node *publish.Node // the signer of a zone whose signatures go through the store; else nil
	// fault says why the zone's keys could not be opened; nil: they were.
	fault error
}

// nodes are those of zones whose signatures go through the store.
func (s signers) nodes() []*publish.Node {
	var out []*publish.Node
	for _, zs := range s {
		if zs.node != nil {
			out = append(out, zs.node)
		}
	}
	return out
}

// signZones opens the signers of zones, and returns the zones as signed ones. in.zones must be
// those of c. Neither a nor in changes.
func (a *App) signZones(c *config.Config, in *inputs, p *parts) ([]*dnsserver.Zone, signers, error) {
	next := make(signers)
	if !c.HasRole(config.RoleDNS) {
		return in.zones, next, nil
	}
	zones := make([]*dnsserver.Zone, len(in.zones))
	for i, z := range in.zones {
		zones[i] = z
		d := c.Zones[i].DNSSEC
		if d == nil {
			continue
		}
		zs, err := a.signerOf(c, p, z.Name(), d)
		if err != nil {
			return nil, nil, fmt.Errorf("zones[%d].dnssec: %w", i, err)
		}
		next[z.Name()] = zs
		signed, mistakes := z.SignedBy(zs.signer)
		if len(mistakes) > 0 { // convert has seen to that
			return nil, nil, fmt.Errorf("%w: zones[%d].%s: %s", ErrConfig, i, mistakes[0].Path,
				mistakes[0].Message)
		}
		zones[i] = signed
	}
	return zones, next, nil
}

// signerOf returns the signer of a zone: the one that it has had if its dnssec is as it was.
func (a *App) signerOf(c *config.Config, p *parts, zone string, d *config.DNSSEC) (
	zoneSigner, error,
) {
	if a.loaded.Load() == nil {
		return a.startSigner(c, p, zone, d)
	}
	had, ok := a.signers[zone]
	same := ok && reflect.DeepEqual(had.config, *d)
	if same && had.fault == nil {
		return had, nil
	}
	zs, err := a.openSigner(c, p, zone, d)
	if same && err != nil { // no worse than before
		had.fault = err
		if had.node == nil {
			had.signer = &unopened{err}
		}
		return had, nil
	}
	return zs, err
}

func (a *App) openSigner(c *config.Config, p *parts, zone string, d *config.DNSSEC) (
	zoneSigner, error,
) {
	if d.Mode == config.SignKeyless {
		return a.joinSigner(c, p, zone, d, nil), nil
	}
	signer, err := a.openKeys(c, zone, d)
	if err != nil {
		return zoneSigner{}, err
	}
	if d.Mode == config.SignLocal {
		return zoneSigner{config: *d, signer: signer}, nil
	}
	return a.joinSigner(c, p, zone, d, signer), nil
}

// joinSigner makes the signer of a zone whose signatures go through the store; without keys when
// signer is nil.
func (a *App) joinSigner(c *config.Config, p *parts, zone string, d *config.DNSSEC,
	signer *dnssec.Signer,
) zoneSigner {
	zs := zoneSigner{config: *d}
	fc := dnssec.FollowerConfig{Zone: zone, Refresh: d.Refresh, Logger: a.log,
		Metrics: a.signing}
	if len(d.Parent) > 0 {
		fc.Parent = dnssec.Ask(d.Parent)
	}
	pc := publish.Config{Zone: zone, Node: c.Node, Signer: signer,
		Follower: dnssec.NewFollower(fc), Shared: p.sharedOr(), Logger: a.log,
		Metrics: a.signing}
	if p.shared != nil {
		pc.Local = p.local
	}
	zs.node = publish.New(pc)
	p.board.Own(zs.node)
	zs.node.Load(context.Background()) // its calls are bounded in time
	zs.signer = zs.node
	return zs
}

// openKeys opens the keys of a zone, and tells what the parent shall have.
func (a *App) openKeys(c *config.Config, zone string, d *config.DNSSEC) (*dnssec.Signer, error) {
	sc := keysConfig(c, zone, d)
	sc.Logger, sc.Metrics = a.log, a.signing
	if len(d.Parent) > 0 {
		sc.Parent = dnssec.Ask(d.Parent)
	}
	s, err := dnssec.New(sc)
	if err != nil {
		return nil, err
	}
	ds, err := s.DS()
	if err != nil {
		return nil, err
	}
	a.log.Info("keys opened", "zone", zone, "ds", ds.String())
	return s, nil
}

// published tells the nameserver, and a reload that waits for it, that signatures were
// published.
func (a *App) published(string) {
	if a.parts != nil && a.parts.dns != nil {
		a.parts.dns.SignAgain()
	}
	select {
	case a.republished <- struct{}{}:
	default: // it has been told
	}
}

// keep puts signers in force, and forgets those of zones that are signed no more.
func (a *App) keepSigners(next signers) {
	for zone, zs := range a.signers {
		if _, ok := next[zone]; ok {
			continue
		}
		zs.signer.Forget()
		a.log.Warn("zone no longer signed", "zone", zone, "reason",
			"it has no dnssec in the config; as long as its parent has DS records it can't be resolved")
	}
	a.signers = next
	a.parts.board.Set(next.nodes())
	a.tellFaults()
}

// policyOf converts how a zone is signed.
func policyOf(d *config.DNSSEC) dnssec.Policy {
	p := dnssec.Policy{
		Algorithm: dnssec.Algorithm(d.Algorithm), Split: d.Keys == config.TwoKeys,
		NSEC3: d.Denial == config.DenyByHash, Validity: d.Validity, Refresh: d.Refresh,
		KeyLifetime: d.KeyLifetime, ParentTTL: d.ParentTTL, Withdraw: d.Withdraw,
	}
	if p.Split {
		p.ZoneKeyLifetime = d.ZoneKeyLifetime
	}
	return p
}
