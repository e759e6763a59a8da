package app

import (
	"fmt"

	"pointsman/internal/config"
	"pointsman/steering/dnsserver"
)

// zoneTraps are warnings of what is no mistake in any one zone: delegations that lead nowhere,
// and serial numbers that don't rise from the zones in force.
func zoneTraps(c *config.Config, src *config.Source, zones []*dnsserver.Zone, from sources) (
	delegations, serials []config.Finding,
) {
	for _, z := range zones {
		if z == nil {
			return nil, nil // the zone's own mistakes come first
		}
	}
	for _, m := range dnsserver.CheckDelegations(zones, steeredNames(c)) {
		delegations = append(delegations, src.Finding(m.Path, m.Message))
	}
	for i, z := range c.Zones {
		if z.File == "" {
			continue // the serial is ours, or its primary's
		}
		trap := dnsserver.SerialTrap(from.zones[zones[i].Name()], zones[i])
		if trap == "" {
			continue
		}
		if z.Transfer != nil {
			trap += ": secondaries will not notice"
		}
		serials = append(serials, src.Finding(fmt.Sprintf("zones[%d].file", i),
			trap+"; raise it with each change"))
	}
	return delegations, serials
}
