package config

import (
	"fmt"
	"strings"

	"pointsman/internal/nearest"
)

// checker judges a decoded configuration as a whole: what no single value shows.
type checker struct {
	cfg    *Config
	src    *Source
	report *Report
	// bad are paths whose value was refused already; a finding about one would only repeat.
	bad map[string]bool
	// tainted are those paths and all above them.
	tainted map[string]bool
	// indices holds what index has built.
	indices map[string]map[string]int
	// facts holds what poolsOf has gathered, by place in the config's pools.
	facts map[int]*poolFacts
	// trees are the pools as trees.
	trees *trees
	// given is false when there is no file, so that nothing can be missing from it.
	given bool
}

func (c *checker) all() {
	c.process()
	c.nameserver()
	c.keys()
	c.zones()
	c.backends()
	c.feeds()
	c.pools()
	c.lists()
	c.located()
	c.audiences()
	c.hosts()
	c.steering()
	c.bindings()
	c.loops()
	c.providers()
	c.edge()
	c.traps()
	c.unused()
}

// mistake records a finding unless the value, or one above it, was refused already.
func (c *checker) mistake(path, format string, args ...any) {
	c.suggest(path, "", format, args...)
}

func (c *checker) suggest(path, suggestion, format string, args ...any) {
	if c.refused(path) {
		return
	}
	f := c.src.Finding(path, fmt.Sprintf(format, args...))
	f.Suggestion = suggestion
	c.report.add(f)
}

func (c *checker) warn(path, format string, args ...any) {
	if !c.refused(path) {
		c.report.Warnings = append(c.report.Warnings,
			c.src.Finding(path, fmt.Sprintf(format, args...)))
	}
}

func (c *checker) refused(path string) bool {
	for ; path != ""; path = parent(path) {
		if c.bad[path] {
			return true
		}
	}
	return false
}

// whole reports whether nothing at or below path was refused, so that what is absent from it
// is really absent.
func (c *checker) whole(path string) bool {
	return !c.tainted[path]
}

// taint returns the paths and all those above them.
func taint(bad map[string]bool) map[string]bool {
	all := make(map[string]bool, 2*len(bad))
	for path := range bad {
		for ; path != "" && !all[path]; path = parent(path) {
			all[path] = true
		}
	}
	return all
}

// require reports required keys that are missing below a section.
func (c *checker) require(tree map[string]any, s *schema, path string) {
	for _, f := range s.fields {
		at := child(path, f.key)
		value, there := tree[f.key]
		if items, ok := value.([]any); ok {
			there = len(items) > 0
			for i, item := range items {
				if m, ok := item.(map[string]any); ok {
					c.require(m, f.schema.elem, element(at, i))
				}
			}
		}
		if m, ok := value.(map[string]any); ok {
			c.require(m, f.schema, at)
		}
		if f.schema.required && !there {
			switch f.schema.kind {
			case list:
				c.mistake(at, "is missing: at least one is needed")
			default:
				c.mistake(at, "is missing")
			}
		}
	}
}

// unique reports each second use of a name among the elements of a list, and returns the
// index of the first use of each.
func (c *checker) unique(path, key string, n int, name func(int) string) map[string]int {
	first := make(map[string]int, n)
	for i := range n {
		switch j, twice := first[name(i)]; {
		case name(i) == "":
		case twice:
			c.mistake(child(element(path, i), key), "%s is the name of %s already",
				shown(name(i)), element(path, j))
		default:
			first[name(i)] = i
		}
	}
	return first
}

// distinct reports what a list of words holds twice.
func (c *checker) distinct(path string, words []string) {
	seen := make(map[string]bool, len(words))
	for i, w := range words {
		if seen[w] && w != "" {
			c.mistake(element(path, i), "%s is given twice", shown(w))
		}
		seen[w] = true
	}
}

// refer reports a name that is not in the list it should be in.
func (c *checker) refer(path, list, name string, known map[string]int) bool {
	if name == "" {
		return false // missing, and reported as that
	}
	if _, ok := known[name]; ok {
		return true
	}
	if c.whole(list) {
		near := ""
		if len(c.report.Mistakes) < maxFindings {
			near = nearest.Name(name, sorted(known))
		}
		c.suggest(path, near, "%s is not one of %s", shown(name), list)
	}
	return false
}

// under reports whether name is the domain or below it; both in lower case.
func under(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && domain != "" && (rest == "" || strings.HasSuffix(rest, "."))
}
