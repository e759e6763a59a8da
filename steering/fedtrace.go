package steering

import "time"

// fedInputs are what a feed says, or said until it fell silent, of one field of a backend.
func (c *compiler) fedInputs(backend string, field Field) []Input {
	key := fedKey{backend, field}
	v, held := c.fed.active[key]
	if !held {
		if v = c.fed.ended[key]; v == nil {
			return nil
		}
	}
	in := Input{Kind: string(field), Backend: backend, Value: v.Text(), Source: "feed " + v.Feed,
		Since: v.Since, Seen: v.At, Expires: v.Until}
	if field == FieldWeight {
		in.Value += " of the configured"
	}
	if !held {
		in.Expires = time.Time{}
		in.Reason = "not counted: the feed is silent since, and the config counts again"
	}
	return []Input{in}
}

// metadata writes down what the config and feeds say of a backend besides its weight and health.
func (p *poolTrace) metadata(c *compiler, backend string, weighted bool) {
	if p == nil {
		return
	}
	note := func(text string) { p.notes = append(p.notes, backend+text) }
	said := func(field Field) *FedValue {
		p.inputs = append(p.inputs, c.fedInputs(backend, field)...)
		return c.fed.of(backend, field)
	}
	constant := func(field Field, value string) {
		p.inputs = append(p.inputs,
			Input{Kind: string(field), Backend: backend, Value: value, Source: "config"})
	}
	b := c.specs[backend]
	switch up := said(FieldUp); {
	case up != nil && up.Value == 0:
		note(" is out by feed " + up.Feed)
	case b.Up == UpAlways:
		constant(FieldUp, string(b.Up))
		note(" counts as usable by the config")
	case b.Up == UpNever && up == nil:
		constant(FieldUp, string(b.Up))
		note(" is out by the config")
	}
	switch drain := said(FieldDrain); {
	case drain != nil && drain.Value != 0 && weighted:
		note("'s drain by feed " + drain.Feed + " is ignored: an operator gave it a weight")
	case drain != nil && drain.Value != 0:
		note(" is drained by feed " + drain.Feed)
	case drain == nil && b.Drain:
		constant(FieldDrain, "true")
		note(" is drained by the config")
	}
	if weight := said(FieldWeight); weight != nil && weighted {
		note("'s weight by feed " + weight.Feed + " is ignored: an operator gave it another")
	}
}

// Metadata tells, for people, what of a backend's metadata differs from "as the probes say, with
// its configured weight, capacity and cost", and by whom. It is nil when nothing does.
func (t *Table) Metadata(backend string) []string {
	c, b := t.compiler, t.compiler.specs[backend]
	if b == nil {
		return nil
	}
	var out []string
	up, drain := c.fed.of(backend, FieldUp), c.fed.of(backend, FieldDrain)
	switch {
	case up != nil && up.Value == 0:
		out = append(out, "out by feed "+up.Feed)
	case b.Up == UpAlways:
		out = append(out, "always up by the config")
	case b.Up == UpNever && up == nil:
		out = append(out, "out by the config")
	}
	switch {
	case drain != nil && drain.Value != 0:
		out = append(out, "drained by feed "+drain.Feed)
	case drain == nil && b.Drain:
		out = append(out, "drained by the config")
	}
	for _, field := range []Field{FieldWeight, FieldCapacity, FieldCost} {
		if v := c.fed.of(backend, field); v != nil {
			out = append(out, string(field)+" "+v.Text()+" by feed "+v.Feed)
		}
	}
	return out
}
