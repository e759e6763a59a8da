package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"pointsman/internal/config"
	"pointsman/steering/dnsserver"
	"pointsman/steering/transfer"
)

// sources are where zones come from besides the config.
type sources struct {
	zones map[string]*dnsserver.Zone // those in force, unsigned
	// copyOf returns the newest copy of a zone; nil without one.
	copyOf func(zone string) (*transfer.Copy, error)
	// starting is true when no zone is in force: a copy that can't be served is done without.
	starting bool
}

// copiesDir is where copies of zones lie.
func copiesDir(c *config.Config) string { return filepath.Join(c.StateDir, "zones") }

// onDisk are the sources of a start.
func onDisk(c *config.Config) sources {
	return sources{starting: true, copyOf: func(zone string) (*transfer.Copy, error) {
		return transfer.Load(copiesDir(c), zone)
	}}
}

// inForce are the sources of a reload.
func (a *App) inForce() sources {
	l := a.loaded.Load()
	from := sources{zones: make(map[string]*dnsserver.Zone)}
	for _, z := range l.zones {
		from.zones[z.Name()] = z
	}
	from.copyOf = func(zone string) (*transfer.Copy, error) {
		if got, ok := a.received[zone]; ok && got.copy != nil {
			return got.copy, nil
		}
		return transfer.Load(copiesDir(l.config), zone)
	}
	return from
}

// received holds the zones that came from primaries, by name.
type received map[string]receivedZone

type receivedZone struct {
	copy *transfer.Copy // nil: none has come
	// shadowed are steered names whose records at the primary are not served.
	shadowed []string
	problem  string // why a copy isn't served; empty: there is none, or it is
	unseen   bool   // the problem is that we may not read it
}

// zone builds a zone from its newest copy, and notes it.
func (r received) zone(c *config.Config, z config.Zone, from sources) (*dnsserver.Zone, error) {
	name := fqdn(z.Name)
	got, err := from.copyOf(name)
	if err == nil {
		var zone *dnsserver.Zone
		var shadowed []string
		if zone, shadowed, err = zoneOfCopy(c, z, got); err == nil {
			r[name] = receivedZone{copy: got, shadowed: shadowed}
			return zone, nil
		}
		if !from.starting {
			return nil, err
		}
	}
	problem := ""
	if !errors.Is(err, errNoCopy) {
		problem = err.Error()
	}
	r[name] = receivedZone{problem: problem, unseen: errors.Is(err, fs.ErrPermission)}
	return dnsserver.AbsentZone(name)
}

// zoneOfCopy builds a zone from a copy by the rules of zone files. It returns the steered names
// at which the primary has records that are not served.
func zoneOfCopy(c *config.Config, z config.Zone, got *transfer.Copy) (
	*dnsserver.Zone, []string, error,
) {
	if got.Signed && z.DNSSEC == nil {
		return nil, nil, errors.New("the primary's zone is signed, and its signatures would deny " +
			"the steered names: sign it here (dnssec: {}), or fetch it from where it isn't signed")
	}
	data, shadowed := shadow(got.Data, steeredNames(c))
	zone, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{Name: got.Zone, Signed: z.DNSSEC != nil,
		File: &dnsserver.ZoneFile{Name: "zone " + got.Zone, Data: data}})
	if len(mistakes) == 0 {
		return zone, shadowed, nil
	}
	var lines []string
	for _, m := range mistakes[:min(len(mistakes), 5)] {
		lines = append(lines, m.Message)
	}
	return nil, nil, fmt.Errorf("serial %d: %s", got.Serial, strings.Join(lines, "; "))
}

// shadow takes the records that steering stands for out of a zone, in which each line is a
// record with an absolute owner. It returns the names that had any.
func shadow(data []byte, names []dnsserver.SteeredName) ([]byte, []string) {
	steered := make(map[string]dnsserver.SteeredName, len(names))
	for _, n := range names {
		steered[n.Host] = n
	}
	var shadowed []string
	var kept bytes.Buffer
	apex, _, _ := bytes.Cut(data, []byte("\t"))
	for line := range bytes.Lines(data) {
		owner, rest, _ := bytes.Cut(line, []byte("\t"))
		n, ok := steered[string(owner)]
		if !ok || !stands(n, rest, bytes.Equal(owner, apex)) {
			kept.Write(line)
			continue
		}
		if !slices.Contains(shadowed, n.Host) {
			shadowed = append(shadowed, n.Host)
		}
	}
	if len(shadowed) == 0 {
		return data, nil
	}
	slices.Sort(shadowed)
	return kept.Bytes(), shadowed
}

// stands reports whether steering stands for a record of a steered name, given without the owner.
func stands(n dnsserver.SteeredName, rest []byte, apex bool) bool {
	fields := bytes.SplitN(rest, []byte("\t"), 4) // TTL, class, type, data
	if len(fields) < 3 {
		return false
	}
	switch string(fields[2]) {
	case "A", "AAAA", "CNAME":
		return true
	case "SOA":
		return false
	case "NS", "DS":
		return !apex // the primary delegates the name, as to us
	case "HTTPS":
		return n.HTTPS || len(n.Targets) > 0
	}
	return len(n.Targets) > 0 && !apex
}

// lack says what it means that nothing has come.
func (z receivedZone) lack() string {
	const means = " has no copy yet, it answers SERVFAIL except for steered names"
	if z.problem == "" {
		return means
	}
	return means + ": " + z.problem
}

// lacks reports whether a zone from a primary is answered without content.
func (a *App) lacks(zone string) bool {
	l := a.loaded.Load()
	return l == nil || slices.ContainsFunc(l.zones, func(z *dnsserver.Zone) bool {
		return z.Name() == zone && z.Absent()
	})
}

// findings are what check says of zones whose copy a start can't serve. That none has come may
// only mean that the node hasn't been started, and so is a note; so is one that only the node's
// own user may read.
func (r received) findings(c *config.Config, report *config.Report) (warnings, notes []config.Finding) {
	for i, z := range c.Zones {
		got, ok := r[fqdn(z.Name)]
		if !ok || got.copy != nil {
			continue
		}
		f := report.Source.Finding(fmt.Sprintf("zones[%d].primary", i), "zone "+fqdn(z.Name)+got.lack())
		if got.problem == "" || got.unseen {
			notes = append(notes, f)
		} else {
			warnings = append(warnings, f)
		}
	}
	return warnings, notes
}

// warnings adds what of the primaries' zones isn't served.
func (r received) warnings(of []string) []string {
	var out []string
	for name, z := range r {
		switch {
		case z.copy == nil:
			out = append(out, "zone "+name+z.lack())
		case len(z.shadowed) > 0:
			out = append(out, "zone "+name+": records that the primary has at steered names are not "+
				"served: "+strings.Join(z.shadowed, ", "))
		}
	}
	slices.Sort(out)
	return append(slices.Clip(of), out...)
}
