package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Read reads a world from JSON and checks it. The error names each mistake by its path.
func Read(data []byte) (*World, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var w World
	if err := d.Decode(&w); err != nil {
		return nil, fmt.Errorf("reading a world: %w", located(err, data))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading a world: there is more behind its end")
	}
	if err := w.Finish(); err != nil {
		return nil, fmt.Errorf("reading a world: %w", err)
	}
	return &w, nil
}

// located adds the line of a mistake in JSON, where it is known.
func located(err error, data []byte) error {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	at := int64(-1)
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &typed):
		at = typed.Offset
	}
	if at < 0 || at > int64(len(data)) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:at], []byte("\n")), err)
}

// Finish sets what a world leaves out, and returns all that is wrong with it.
func (w *World) Finish() error {
	w.defaults()
	var c checker
	c.want(w.Name != "", "name", "is missing")
	c.want(slices.Contains([]Kind{Hard, Grey, False, Plan}, w.Kind), "kind",
		"is %q, not hard, grey, false or plan", w.Kind)
	lasts := time.Duration(w.Lasts)
	c.want(lasts >= time.Minute && lasts <= 48*time.Hour, "lasts", "is %v, not 1m to 48h", lasts)
	ttl := time.Duration(w.TTL)
	c.want(ttl >= time.Second && ttl <= time.Hour, "ttl", "is %v, not 1s to 1h", ttl)
	c.want(w.Users > 0 && w.Users <= 1e10, "users", "is %v, not above 0 and at most 1e10", w.Users)
	c.want(w.MoveCost >= 0 && w.Patience > 0, "move_cost", "and patience must not be negative")
	c.regions(w)
	c.backends(w)
	c.vantages(w)
	for i, f := range w.Frozen {
		path := fmt.Sprintf("frozen[%d]", i)
		c.want(find(f.Policy) != nil, path+".policy", "%q is none of the policies", f.Policy)
		c.want(f.From >= 0 && f.To > f.From, path, "ends before it begins")
	}
	c.plans(w)
	return errors.Join(c.mistakes...)
}

func (w *World) defaults() {
	span := func(d *Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = Duration(otherwise)
		}
	}
	span(&w.TTL, 20*time.Second)
	span(&w.MoveCost, 3*time.Second)
	span(&w.Patience, 3*time.Second)
	if w.Users == 0 {
		w.Users = 1_000_000
	}
	if len(w.Regions) == 0 {
		w.Regions = []Region{{Name: "world", Users: 1}}
	}
	if len(w.Vantages) == 0 {
		w.Vantages = []Vantage{{Name: "v1"}, {Name: "v2"}, {Name: "v3"}}
	}
	for i := range w.Vantages {
		if w.Vantages[i].Region == "" {
			w.Vantages[i].Region = w.Regions[0].Name
		}
	}
}

// checker gathers mistakes.
type checker struct{ mistakes []error }

func (c *checker) want(ok bool, path, format string, args ...any) {
	if !ok {
		c.mistakes = append(c.mistakes, fmt.Errorf(path+" "+format, args...))
	}
}

func (c *checker) regions(w *World) {
	for i, r := range w.Regions {
		path := fmt.Sprintf("regions[%d]", i)
		c.want(r.Name != "" && w.region(r.Name) == i, path+".name", "is empty or twice")
		c.want(r.Users > 0 && r.Users <= 1e10, path+".users", "is %v, not above 0", r.Users)
	}
}

func (c *checker) backends(w *World) {
	weights := 0
	for i, b := range w.Backends {
		path := fmt.Sprintf("backends[%d]", i)
		c.want(b.Name != "" && w.backend(b.Name) == i && b.Name != controlName, path+".name",
			"is empty, %q or twice", controlName)
		c.want(b.Weight <= 1_000_000, path+".weight", "is above 1,000,000")
		c.want(b.Tier >= 0 && b.Tier < 10, path+".tier", "is not 0 to 9")
		c.want(b.Capacity >= 0 && b.Capacity <= 1, path+".capacity", "is not 0 to 1")
		c.faults(w, path, b.Faults, Down, Refused, Errors, Slow, Certificate, Content)
		if b.Weight > 0 {
			weights++
		}
	}
	c.want(weights > 0 && len(w.Backends) <= 50, "backends",
		"are %d, %d with a weight: want at least one with a weight, and at most 50",
		len(w.Backends), weights)
}

func (c *checker) vantages(w *World) {
	c.want(len(w.Vantages) <= 50, "vantages", "are more than 50")
	for i, v := range w.Vantages {
		path := fmt.Sprintf("vantages[%d]", i)
		c.want(v.Name != "" && slices.IndexFunc(w.Vantages, func(o Vantage) bool {
			return o.Name == v.Name
		}) == i, path+".name", "is empty or twice")
		c.want(w.region(v.Region) >= 0, path+".region", "%q is none of the regions", v.Region)
		c.faults(w, path, v.Faults, Blind, SaysDown, SaysUp, Partitioned, Dead)
	}
	if w.Control != nil {
		c.faults(w, "control", w.Control.Faults, Down, Refused, Errors, Slow, Certificate, Content)
	}
}

func (c *checker) faults(w *World, path string, list []Fault, kinds ...Failure) {
	for i, f := range list {
		path := fmt.Sprintf("%s.faults[%d]", path, i)
		c.want(slices.Contains(kinds, f.Kind), path+".kind", "is %q, not one of %q", f.Kind, kinds)
		c.want(f.From >= 0 && f.To > f.From, path, "ends before it begins")
		c.want(f.Ratio >= 0 && f.Ratio <= 1, path+".ratio", "is not 0 to 1")
		c.want((f.Kind == Slow) == (f.Latency > 0), path+".latency", "is for slow alone")
		c.want(f.Every >= 0 && f.For >= 0 && (f.Every > 0) == (f.For > 0) && f.For <= f.Every,
			path+".for", "and every are given together, for not above every")
		for _, r := range f.Regions {
			c.want(w.region(r) >= 0, path+".regions", "%q is none of the regions", r)
		}
		for _, b := range f.Backends {
			c.want(w.backend(b) >= 0, path+".backends", "%q is none of the backends", b)
		}
	}
}

func (c *checker) plans(w *World) {
	for i, p := range w.Plans {
		path := fmt.Sprintf("plans[%d]", i)
		c.want(p.At >= 0 && (i == 0 || p.At > w.Plans[i-1].At), path+".at", "is not after the last")
		c.want(p.Version > 0, path+".version", "is missing")
		for name, weight := range p.Weights {
			c.want(w.backend(name) >= 0, path+".weights", "%q is none of the backends", name)
			c.want(weight > 0 && weight <= 1_000_000, path+".weights", "are not 1 to 1,000,000")
		}
	}
}

func (w *World) region(name string) int {
	return slices.IndexFunc(w.Regions, func(r Region) bool { return r.Name == name })
}

func (w *World) backend(name string) int {
	return slices.IndexFunc(w.Backends, func(b Backend) bool { return b.Name == name })
}
