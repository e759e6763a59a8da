package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"pointsman/internal/app"
	"pointsman/steering/whatif"
)

// mostGroups is how many countries of a host are shown; JSON has them all.
const mostGroups = 8

// writePlan prints a plan for people, 80 columns wide unless names are long.
func writePlan(out io.Writer, v planned) error {
	for _, w := range v.Warnings {
		fmt.Fprintf(out, "warning: %s\n", clean(w.String()))
	}
	for _, r := range v.Refused[:min(len(v.Refused), 3)] {
		fmt.Fprintf(out, "refused at table %d: %s\n", r.Version, clean(r.Err))
	}
	for _, name := range v.Gained {
		fmt.Fprintf(out, "gained: %s\n", clean(name))
	}
	for _, name := range v.Lost {
		fmt.Fprintf(out, "lost: %s\n", clean(name))
	}
	for _, name := range v.Assumed {
		fmt.Fprintf(out, "assumed to resolve: %s\n", clean(name))
	}
	for i := range v.Hosts {
		if err := writePlanHost(out, &v.Hosts[i]); err != nil {
			return err
		}
	}
	if err := writePlanBackends(out, v.Plan); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s queries", grouped(v.Queries))
	if !v.From.IsZero() {
		fmt.Fprintf(out, ", %s to %s", v.From.UTC().Format("2006-01-02 15:04:05"),
			v.To.UTC().Format("15:04:05 MST"))
	}
	fmt.Fprintf(out, ", %s\n", plural(v.Moments, "table"))
	if len(v.Skipped) > 0 {
		fmt.Fprintf(out, "left out: %s\n", skipped(v.Plan))
	}
	_, err := fmt.Fprintln(out, v.Verdict)
	return err
}

func skipped(p *app.Plan) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(p.Skipped)) {
		parts = append(parts, fmt.Sprintf("%s: %s", plural(p.Skipped[why], "line"), clean(why)))
	}
	if parts == nil {
		return "no line is of that time"
	}
	return strings.Join(parts, "; ")
}

func writePlanHost(out io.Writer, h *whatif.Host) error {
	fmt.Fprintf(out, "\n%s  %s queries", clean(h.Host), grouped(h.Queries))
	if h.Queries == 0 {
		_, err := fmt.Fprintln(out, ": nobody asked")
		return err
	}
	fmt.Fprintf(out, ", %s change backend (at least %s must)\n", percent(h.Churn), percent(h.Least))
	t := table(out, "  BACKEND OLD NEW POINTS")
	t.cells[0][0] = "  BACKEND"
	for _, s := range h.Shares {
		t.add("  "+s.Backend, percent(s.Old), percent(s.New), points(s))
	}
	if err := t.flush("  nobody answers"); err != nil {
		return err
	}
	if h.Cost != nil {
		fmt.Fprintf(out, "  cost of a GB %.4f -> %.4f (%s)\n", h.Cost.Old/1e6, h.Cost.New/1e6,
			relative(h.Cost))
	} else {
		fmt.Fprintln(out, "  cost of a GB: not known (backends[].cost)")
	}
	if h.Origin != nil {
		fmt.Fprintf(out, "  to the origin %s -> %s of requests (%s)\n", percent(h.Origin.Old),
			percent(h.Origin.New), relative(h.Origin))
	} else {
		fmt.Fprintln(out, "  origin load: not known (--miss BACKEND=RATIO)")
	}
	if err := writeGroups(out, "COUNTRY", h.Countries); err != nil {
		return err
	}
	if len(h.Places) > 1 {
		return writeGroups(out, "PLACE", h.Places)
	}
	return nil
}

// writeGroups prints countries or places, and for each the backends whose shares move.
func writeGroups(out io.Writer, what string, groups []whatif.Group) error {
	t := table(out, what+" PART CHURN MOVES")
	t.cells[0][0] = "  " + what
	rest := 0.0
	for i, g := range groups {
		if i >= mostGroups {
			rest += g.Part
			continue
		}
		var moves []string
		for _, s := range g.Shares {
			if p := points(s); p != "+0.0" {
				moves = append(moves, s.Backend+" "+p)
			}
		}
		name := g.Name
		if name == "" {
			name = "(none)"
		}
		t.add("  "+name, percent(g.Part), percent(g.Churn), strings.Join(moves, ", "))
	}
	if rest > 0 {
		t.add(fmt.Sprintf("  (%d more)", len(groups)-mostGroups), percent(rest), "", "")
	}
	return t.flush("")
}

func points(s whatif.Share) string {
	text := fmt.Sprintf("%+.1f", (s.New-s.Old)*100)
	if text == "-0.0" {
		return "+0.0"
	}
	return text
}

// relative is a change in percent of the old value.
func relative(p *whatif.Pair) string {
	if p.Old == 0 {
		return "from 0"
	}
	return fmt.Sprintf("%+.1f%%", (p.New/p.Old-1)*100)
}

func writePlanBackends(out io.Writer, p *app.Plan) error {
	fmt.Fprintln(out)
	t := table(out, "PEAK OLD/s NEW/s CAPACITY OLD NEW")
	for _, b := range p.Backends {
		capacity, old, new := "none", "-", "-"
		if b.Capacity > 0 {
			capacity = grouped(float64(b.Capacity))
			old, new = percent(b.Used(b.Load.Old)), percent(b.Used(b.Load.New))
		}
		was, is := grouped(b.Load.Old), grouped(b.Load.New)
		if len(b.Unknown) > 0 {
			was, is, old, new = ">="+was, ">="+is, ">="+old, ">="+new
			if b.Load.Old == 0 && b.Load.New == 0 {
				was, is, old, new = "not known", "not known", "-", "-"
			}
		}
		t.add(b.Backend, was, is, capacity, old, new)
	}
	return t.flush("no backends")
}

// verdict sums a plan up in a line.
func verdict(p *app.Plan, exceeded []string) string {
	parts := []string{fmt.Sprintf("%s of queries change backend, of which %s must",
		percent(p.Churn), percent(p.Least))}
	if n := len(p.Refused); n > 0 {
		parts = append(parts, "the new config would have been refused at "+plural(n, "table"))
	}
	if n := len(p.Lost); n > 0 {
		parts = append(parts, plural(n, "name")+" would be lost")
	}
	for _, b := range p.Backends {
		if b.Used(b.Load.New) > 1 {
			parts = append(parts, fmt.Sprintf("%s would be at %s of its capacity", clean(b.Backend),
				percent(b.Used(b.Load.New))))
		}
	}
	if len(exceeded) > 0 {
		return "Verdict: NO: " + strings.Join(append(exceeded, parts...), "; ") + "."
	}
	return "Verdict: " + strings.Join(parts, "; ") + "."
}
