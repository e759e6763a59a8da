package app

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/geo"
	"pointsman/steering/replay"
	"pointsman/steering/whatif"
)

// PlanOptions say what Plan weighs.
type PlanOptions struct {
	New Options
	// Old is the config in force; nil: what the tables of the logs were compiled from.
	Old *Options
	Logs
	// Model stands for clients when there are no logs; it needs Old. All backends are healthy then.
	Model *whatif.Model
	// From and To bound the lines by their time, if not zero; Last those before the newest line.
	From, To time.Time
	Last     time.Duration
	Host     string             // only this one; empty: all
	Miss     map[string]float64 // see whatif.Config
}

// Plan is what a new config comes to.
type Plan struct {
	*whatif.Report
	Checked Checked `json:"-"`
	// Lines are those that were weighed, Skipped those whose client isn't told, and those of
	// tables that can't be made again, by why.
	Lines   int            `json:"lines"`
	Skipped map[string]int `json:"skipped"`
	From    time.Time      `json:"from,omitzero"` // of the first line
	To      time.Time      `json:"to,omitzero"`
	// Assumed are names behind flattened hosts that are taken to be resolved, for nobody has yet.
	Assumed []string `json:"assumed"`
}

// MakePlan runs recorded queries, or a model's, through the config in force and a new one. A config
// that is refused is an ErrConfig.
func MakePlan(o PlanOptions) (*Plan, error) {
	p := &Plan{Skipped: make(map[string]int), Assumed: []string{}}
	var err error
	if p.Checked, err = Check(o.New); err != nil {
		return p, err
	}
	after, err := o.New.side()
	if err != nil {
		return p, err
	}
	var before *side
	if o.Old != nil {
		if before, err = o.Old.side(); err != nil {
			return p, fmt.Errorf("the config in force: %w", err)
		}
	}
	wc := whatif.Config{Miss: o.Miss}
	if o.Host != "" {
		wc.Host = fqdn(o.Host)
	}
	weighing := &weighing{plan: p, before: before, after: after, into: whatif.New(wc)}
	if o.Model != nil {
		err = weighing.model(*o.Model)
	} else {
		err = weighing.recorded(&o)
	}
	p.Report = weighing.into.Report()
	slices.Sort(p.Assumed)
	return p, err
}

// side is a config as far as tables depend on it.
type side struct {
	spec *steering.Spec
	geo  geo.Data
}

func (o Options) side() (*side, error) {
	c, report, err := o.load()
	if err != nil {
		return nil, err
	}
	in, err := convert(c, report)
	if err != nil {
		return nil, err
	}
	if err := in.loadGeo(c, report); err != nil {
		return nil, err
	}
	if !in.steers() {
		return nil, fmt.Errorf("%w: it has no hosts, so it steers nothing", ErrConfig)
	}
	return &side{spec: in.spec, geo: in.geo}, nil
}

// weighing is a plan in the making.
type weighing struct {
	plan          *Plan
	before, after *side // before: nil without a config in force
	into          *whatif.Comparison
	located       *geo.Locator // tells countries for the report, whatever the configs ask
}

// add weighs what the world was like at a table, with the queries of that time.
func (w *weighing) add(world steering.Inputs, clients []whatif.Client) error {
	m := whatif.Moment{Old: world, New: world, Clients: clients}
	if w.before != nil {
		m.Old.Spec, m.Old.Countries = w.before.spec, w.before.geo.Locator
		m.Old.Addresses = w.resolved(m.Old)
	}
	m.New.Spec, m.New.Countries = w.after.spec, w.after.geo.Locator
	m.New.Addresses = w.resolved(m.New)
	return w.into.Add(m)
}

// resolved returns the addresses of inputs and, for names that only their spec has, one that
// stands for what they will resolve to.
func (w *weighing) resolved(in steering.Inputs) steering.Addresses {
	out := make(steering.Addresses, len(in.Addresses))
	maps.Copy(out, in.Addresses)
	for _, name := range in.Spec.Targets() {
		if _, known := out[name]; known {
			continue
		}
		out[name] = steering.Resolved{V4: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})},
			TTL: time.Minute, At: in.Now}
		if !slices.Contains(w.plan.Assumed, name) {
			w.plan.Assumed = append(w.plan.Assumed, name)
		}
	}
	return out
}

// country tells the country of an address by the newest data at hand.
func (w *weighing) country() (func(netip.Addr) string, error) {
	if w.located = w.after.geo.Locator; w.located == nil {
		d, err := geo.Load(geo.Wants{Country: true})
		if err != nil {
			return nil, err
		}
		w.located = d.Locator
	}
	return func(a netip.Addr) string {
		at, _ := w.located.Locate(a)
		return at.Country
	}, nil
}

// model weighs one moment at which all is well, for the clients of a model.
func (w *weighing) model(m whatif.Model) error {
	country, err := w.country()
	if err != nil {
		return err
	}
	hosts := make(map[string]bool)
	var clients []whatif.Client
	thrown := m.Clients(1, country)
	for _, spec := range []*steering.Spec{w.before.spec, w.after.spec} {
		for _, h := range spec.Hosts {
			if hosts[h.Name] {
				continue
			}
			hosts[h.Name] = true
			for _, c := range thrown {
				c.Host = h.Name
				clients = append(clients, c)
			}
		}
	}
	return w.add(steering.Inputs{Version: 1, Now: time.Now(), View: &health.View{}}, clients)
}

// asked is one line of a log, as far as it counts.
type asked struct {
	time   time.Time
	table  string
	tables *replay.Tables
	client whatif.Client
}

// recorded weighs the lines of logs, table by table.
func (w *weighing) recorded(o *PlanOptions) error {
	country, err := w.country()
	if err != nil {
		return err
	}
	sources, closing, err := o.open(nil)
	if err != nil {
		return err
	}
	var lines []asked
	for _, from := range sources {
		err := replay.Lines(from.Reader, func(_ int, text []byte) error {
			lines = w.line(lines, text, from.Tables, country)
			return nil
		})
		if err != nil {
			return errors.Join(fmt.Errorf("reading %s: %w", from.Name, err), closing.close())
		}
	}
	lines = within(lines, o)
	w.plan.Lines = len(lines)
	return errors.Join(w.tables(lines), closing.close())
}

// line adds the queries of a line.
func (w *weighing) line(
	lines []asked, text []byte, tables *replay.Tables, country func(netip.Addr) string,
) []asked {
	l, err := replay.Parse(text)
	switch {
	case err != nil:
		w.plan.Skipped["no line of a decision log"]++
		return lines
	case !l.Client.IsValid():
		w.plan.Skipped["the client is not told"]++
		return lines
	}
	one := asked{time: l.Time, table: l.TableHash, tables: tables, client: whatif.Client{
		Host: l.Host, Prefix: l.Client, Country: country(l.Client.Addr()),
		Weight: float64(max(l.Sample, 1))}}
	lines = append(lines, one)
	for _, f := range l.Then {
		one.client.Host = f.Host
		lines = append(lines, one)
	}
	return lines
}

// within returns the lines of the time that is wanted, ordered by time.
func within(lines []asked, o *PlanOptions) []asked {
	slices.SortStableFunc(lines, func(a, b asked) int { return a.time.Compare(b.time) })
	from := o.From
	if n := len(lines); n > 0 && o.Last > 0 {
		from = lines[n-1].time.Add(-o.Last)
	}
	return slices.DeleteFunc(lines, func(l asked) bool {
		return l.time.Before(from) || !o.To.IsZero() && l.time.After(o.To)
	})
}

// tables weighs lines by table, in the order of the tables' first lines.
func (w *weighing) tables(lines []asked) error {
	if len(lines) == 0 {
		return nil
	}
	w.plan.From, w.plan.To = lines[0].time, lines[len(lines)-1].time
	var order []string
	by := make(map[string][]asked)
	for _, l := range lines {
		if by[l.table] == nil {
			order = append(order, l.table)
		}
		by[l.table] = append(by[l.table], l)
	}
	for _, hash := range order {
		of := by[hash]
		table, err := of[0].tables.Table(hash)
		if err != nil {
			w.plan.Skipped[strings.ReplaceAll(err.Error(), hash, hash[:12])] += len(of)
			w.plan.Lines -= len(of)
			continue
		}
		if err := w.add(table.Inputs(), merged(of)); err != nil {
			return err
		}
	}
	return nil
}

// merged adds up the queries of each client for each host, in the order of the first ones.
func merged(lines []asked) (out []whatif.Client) {
	type key struct {
		host   string
		prefix netip.Prefix
	}
	at := make(map[key]int)
	for _, l := range lines {
		k := key{l.client.Host, l.client.Prefix}
		i, known := at[k]
		if !known {
			at[k] = len(out)
			out = append(out, l.client)
			continue
		}
		out[i].Weight += l.client.Weight
	}
	return out
}
