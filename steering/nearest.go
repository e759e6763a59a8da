package steering

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pointsman/steering/geo"
)

// mostZones is how many zones of clients the distances of a host may tell apart at one place.
const mostZones = 64

// orderDepth is how many of the nearest backends zones tell apart. Where that makes too many zones
// fewer are, and beyond them the order is that of the zone's first spot.
const orderDepth = 3

// zone is clients for whom the same backends are near, in the same order.
type zone struct {
	name string
	spot geo.Spot
	// distances are those of backends in km.
	distances map[string]uint32
	// latency is true where distances say little and measured latencies come first.
	latency bool
}

// locale is where the clients of a plan are: at a place or none, and in a zone or none.
type locale struct {
	place *Place
	zone  *zone
}

func (l locale) zoneName() string {
	if l.zone == nil {
		return ""
	}
	return l.zone.name
}

// key is equal for zones that are the same, of one host or of several.
func (z *zone) key() string {
	if z == nil {
		return ""
	}
	b := []byte(z.name)
	for _, name := range slices.Sorted(maps.Keys(z.distances)) {
		b = append(append(b, 0), name...)
		b = binary.AppendUvarint(b, uint64(z.distances[name]))
	}
	return string(b)
}

// field is a pool that chooses the nearest, with the backends of its tree that have a location.
type field struct {
	within   Tolerance
	backends []string // in order
}

// fields lists the fields among pools and those in them, in the order of their names.
func (c *compiler) fields(pools []string) []field {
	found := make(map[string]field)
	var visit func(name string)
	visit = func(name string) {
		p := c.pools[name]
		for _, m := range p.Members {
			if m.Pool != "" {
				visit(m.Pool)
			}
		}
		if _, known := found[name]; known || p.Choose != Nearest {
			return
		}
		f := field{within: p.Within}
		c.backends(name, func(m Member) {
			if c.specs[m.Backend].Location != nil {
				f.backends = append(f.backends, m.Backend)
			}
		})
		slices.Sort(f.backends)
		f.backends = slices.Compact(f.backends)
		found[name] = f
	}
	for _, name := range pools {
		visit(name)
	}
	var list []field
	for _, name := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[name])
	}
	return list
}

// fieldsOf returns the fields of a host, at none of its places and at each, and a text that is equal
// when these are. Nil: it has none.
func (c *compiler) fieldsOf(h *Host) (fields [][]field, key string) {
	if !c.nearest {
		return nil, ""
	}
	fields = append(fields, c.fields(h.Pools))
	found := len(fields[0])
	for i := range h.Places {
		fields = append(fields, c.fields(h.Places[i].Pools))
		found += len(fields[i+1])
	}
	if found == 0 {
		return nil, ""
	}
	var b strings.Builder
	for _, list := range fields {
		b.WriteByte('#')
		for _, f := range list {
			fmt.Fprintf(&b, "(%d %d", f.within.Percent, f.within.Distance)
			for _, name := range f.backends {
				p := c.specs[name].Location
				fmt.Fprintf(&b, " %q %d %d", name, p.Lat, p.Lon)
			}
			b.WriteByte(')')
		}
	}
	return fields, b.String()
}

// zones divides the spots of clients by the order in which backends are near. It returns the zone
// of each spot, and what they are, the first being that of clients whose spot is not known.
func (c *compiler) zones(fields []field, r *geo.Ruler) ([]uint8, []*zone, error) {
	spots := c.in.Countries.Spots()
	far := make([][][]uint32, len(spots)) // by spot, field and backend, in km
	for i, s := range spots {
		if s.Known {
			far[i] = c.measure(fields, r, s.Point)
		}
	}
	for depth := orderDepth; depth > 0; depth-- {
		of, list := make([]uint8, len(spots)), []*zone{nil}
		byKey := make(map[string]uint8)
		for i, s := range spots {
			if !s.Known {
				continue
			}
			key := zoneKey(fields, far[i], s, depth)
			id, known := byKey[key]
			if !known && len(list) > mostZones {
				list = nil
				break
			}
			if !known {
				id = uint8(len(list))
				byKey[key] = id
				list = append(list, newZone(fields, far[i], s))
			}
			of[i] = id
		}
		if list != nil {
			nameZones(list)
			return of, list, nil
		}
	}
	return nil, nil, fmt.Errorf("distances tell more than %d zones of clients apart: widen what "+
		"the pools that choose the nearest allow (within), or give them fewer backends", mostZones)
}

func (c *compiler) measure(fields []field, r *geo.Ruler, from geo.Point) [][]uint32 {
	far := make([][]uint32, len(fields))
	for i, f := range fields {
		far[i] = make([]uint32, len(f.backends))
		for j, name := range f.backends {
			far[i][j] = r.Between(from, *c.specs[name].Location)
		}
	}
	return far
}

// byDistance returns the places in a list of the backends of a field, the nearest first.
func byDistance(far []uint32) []int {
	order := make([]int, len(far))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(far[a], far[b]) })
	return order
}

// zoneKey is equal for spots for which, in each field, the same backends are nearest in the same
// order, down to a depth, and the same ones are about as near as each of them. So whatever is down,
// as long as one of these is up, the same are chosen.
func zoneKey(fields []field, far [][]uint32, s geo.Spot, depth int) string {
	var b []byte
	if s.Rough {
		b = append(b, s.Name...)
	}
	for i, f := range fields {
		order := byDistance(far[i])
		for k, nearest := range order[:min(depth, len(order))] {
			b = binary.AppendUvarint(b, uint64(nearest))
			bound := f.within.bound(uint64(far[i][nearest]), uint64(f.within.Distance))
			for _, other := range slices.Sorted(slices.Values(order[k+1:])) {
				if uint64(far[i][other]) <= bound {
					b = binary.AppendUvarint(b, uint64(other))
				}
			}
			b = append(b, 0xff, 0xff) // no number ends so
		}
	}
	return string(b)
}

func newZone(fields []field, far [][]uint32, s geo.Spot) *zone {
	z := &zone{spot: s, distances: make(map[string]uint32), latency: s.Rough}
	for i, f := range fields {
		for j, name := range f.backends {
			z.distances[name] = far[i][j]
		}
		if order := byDistance(far[i]); z.name == "" && len(order) > 0 {
			z.name = "near " + f.backends[order[0]]
		}
	}
	if s.Rough {
		z.name = "in " + s.Name
	}
	return z
}

// nameZones numbers zones of one name.
func nameZones(list []*zone) {
	count := make(map[string]int)
	for _, z := range list[1:] {
		if count[z.name]++; count[z.name] > 1 {
			z.name = fmt.Sprintf("%s (%d)", z.name, count[z.name])
		}
	}
}

// bound is how large a value may be and still count as the lowest.
func (t Tolerance) bound(lowest, span uint64) uint64 {
	return lowest + max(proportion(lowest, uint64(t.Percent), 100), span)
}

// chooseNearest keeps the parts that are about as near to the clients of a zone as the nearest. In
// no zone nobody is near, and all are kept.
func (c *compiler) chooseNearest(z *zone, within Tolerance, parts []part) []part {
	if z == nil {
		return parts
	}
	if z.latency {
		within := Tolerance{Percent: within.Percent}
		for _, p := range parts {
			if _, known := mean(p.mix, c.latency); known {
				return best(parts, within, c.latency)
			}
		}
	}
	lowest := ^uint64(0)
	far := make([]uint64, len(parts))
	for i, p := range parts {
		far[i] = z.distance(p.mix)
		lowest = min(lowest, far[i])
	}
	if lowest == ^uint64(0) {
		return parts
	}
	bound := within.bound(lowest, uint64(within.Distance))
	var kept []part
	for i, p := range parts {
		if far[i] <= bound {
			kept = append(kept, p)
		}
	}
	return kept
}

// distance is that of the nearest backend of a mix, or the largest number there is.
func (z *zone) distance(mix []standing) uint64 {
	lowest := ^uint64(0)
	for _, s := range mix {
		if km, ok := z.distances[s.backend]; ok {
			lowest = min(lowest, uint64(km))
		}
	}
	return lowest
}

// locate tells a node and those in it where its clients are.
func (n *node) locate(z *zone) {
	n.zone = z
	for _, k := range n.kids {
		if k.node != nil {
			k.node.locate(z)
		}
	}
}

// distances writes down how far backends are, where any pool chooses the nearest.
func (tr *Trace) distances(c *compiler, pools []string, z *zone) {
	if tr == nil || len(c.fields(pools)) == 0 {
		return
	}
	if z == nil {
		tr.add("nearest", "nobody knows where these clients are: weights decide")
		return
	}
	where := z.spot.Name
	switch {
	case where == "":
		where = fmt.Sprintf("about %s", z.spot.Point)
	case z.latency:
		where = "somewhere in " + where + ": where latencies are known they come before distances"
	default:
		where = "the centre of " + where
	}
	var inputs []Input
	for _, name := range slices.Sorted(maps.Keys(z.distances)) {
		inputs = append(inputs, Input{Kind: "distance", Backend: name, Source: "location",
			Value: fmt.Sprintf("%d km", z.distances[name])})
		if z.latency {
			inputs = append(inputs, latencyInput(c.in, name))
		}
	}
	tr.add("nearest", fmt.Sprintf("clients %s; distances are from %s", z.name, where), inputs...)
}

// spotStep says where one client is taken to be for distances, which its zone shares in order.
func (t *Table) spotStep(z *zone, where geo.Location) string {
	s := where.Spot
	data := ""
	for _, source := range t.compiler.in.Countries.Sources() {
		if source.Kind == "point" && s.Name == "" {
			data = fmt.Sprintf(" by %s of %s", source.Origin, source.Date.Format(time.DateOnly))
		}
	}
	switch {
	case z == nil || !s.Known:
		return ""
	case s.Name != "":
		return fmt.Sprintf("; for distances it is at the centre of %s (%s)", s.Name, s.Point)
	}
	return fmt.Sprintf("; for distances it is at %s%s", s.Point, data)
}
