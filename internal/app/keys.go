package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pointsman/internal/config"
	"pointsman/steering/dnssec"
)

// reopenEvery is how often keys that could not be opened are tried again.
const reopenEvery = time.Minute

// keysConfig is how the keys of a zone are opened.
func keysConfig(c *config.Config, zone string, d *config.DNSSEC) dnssec.Config {
	folder := d.KeyDir
	if folder == "" {
		folder = filepath.Join(c.StateDir, "dnssec")
	}
	return dnssec.Config{Zone: zone, Policy: policyOf(d), Folder: folder,
		Publishes: d.Mode == config.SignForAll}
}

// unopened stands for the signer of a zone whose keys can't be used: the zone is withheld.
type unopened struct{ why error }

func (u *unopened) Sign(context.Context, *dnssec.Zone) (*dnssec.Signed, error) {
	return nil, withheld{u.why}
}

func (u *unopened) Advance(context.Context) (bool, error) { return false, nil }

func (u *unopened) Forget() {}

// withheld is an ErrUnpublished with a reason of its own.
type withheld struct{ error }

func (w withheld) Is(target error) bool { return target == dnssec.ErrUnpublished }

func (w withheld) Unwrap() error { return w.error }

// startSigner is openSigner for a start: bad keys of one zone must not keep the others down. Where
// it can, the node serves what was published, as one without keys does.
func (a *App) startSigner(c *config.Config, p *parts, zone string, d *config.DNSSEC) (
	zoneSigner, error,
) {
	zs, err := a.openSigner(c, p, zone, d)
	if err == nil || d.Mode == config.SignKeyless {
		return zs, err
	}
	a.log.Error("keys not opened, tried again each minute", "zone", zone, "err", err)
	why := err
	zs = zoneSigner{config: *d, signer: &unopened{why: why}}
	if d.Mode == config.SignForAll {
		zs = a.joinSigner(c, p, zone, d, nil)
	}
	zs.fault = why
	return zs, nil
}

// reopen puts keys in force that could not be opened before.
func (a *App) reopen() {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	before := a.signers.faults(false)
	if len(before) == 0 {
		return
	}
	l := a.loaded.Load()
	zones, next, err := a.signZones(l.config, &inputs{zones: l.zones}, a.parts)
	if err == nil && slices.Equal(next.faults(false), before) {
		return
	}
	if err == nil {
		err = a.parts.dns.SetZones(zones)
	}
	if err != nil {
		a.log.Error("zones not signed with the keys that were opened", "err", err)
		return
	}
	a.keepSigners(next)
}

// faults lists the zones whose keys could not be opened, for people. With published it lists only
// those that are served all the same as long as what was published holds.
func (s signers) faults(published bool) []string {
	var out []string
	for zone, zs := range s {
		if zs.fault != nil && (zs.node != nil || !published) {
			out = append(out, fmt.Sprintf("the keys of zone %s can't be used, and are tried again "+
				"each minute: %v", strings.TrimSuffix(zone, "."), zs.fault))
		}
	}
	slices.Sort(out)
	return out
}

// tellFaults shows the faults of the signers in force in the status.
func (a *App) tellFaults() {
	told := a.signers.faults(true)
	a.keyFaults.Store(&told)
}

// unsigned says which zones this node answers with SERVFAIL, and why, for people.
func (a *App) unsigned() []string {
	var out []string
	if told := a.keyFaults.Load(); told != nil {
		out = append(out, *told...)
	}
	if a.parts.dns == nil {
		return out
	}
	for _, w := range a.parts.dns.Withheld() {
		out = append(out, fmt.Sprintf("zone %s answers SERVFAIL: %s",
			strings.TrimSuffix(w.Zone, "."), w.Reason))
	}
	return out
}

// checkKeys looks at the keys of zones as a start would, and makes nothing.
func checkKeys(c *config.Config, report *config.Report) (warnings []config.Finding, err error) {
	var bad []pathMistake
	for i, z := range c.Zones {
		d := z.DNSSEC
		if d == nil || d.Mode == config.SignKeyless || !c.HasRole(config.RoleDNS) {
			continue
		}
		at := fmt.Sprintf("zones[%d].dnssec", i)
		warning, err := dnssec.Check(keysConfig(c, fqdn(z.Name), d))
		switch {
		case errors.Is(err, fs.ErrPermission): // whoever checks may be another user than the node's
			warnings = append(warnings, report.Source.Finding(at, err.Error()))
		case err != nil:
			bad = append(bad, complaint(at, err.Error()))
		case warning != "":
			warnings = append(warnings, report.Source.Finding(at, warning))
		}
	}
	if len(bad) > 0 {
		return warnings, fmt.Errorf("%w: %w", ErrConfig, located(report, bad))
	}
	return warnings, nil
}
