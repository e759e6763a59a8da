package config

import (
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"pointsman/internal/nearest"
)

const (
	// maxDepth is the deepest nesting; the configuration itself needs seven levels.
	maxDepth = 32
	// maxNodes bounds what aliases may unfold to.
	maxNodes = 100_000
)

// loader holds what one Load gathers.
type loader struct {
	opts   Options
	schema *schema
	src    *Source
	report *Report
	// bad are the paths whose value was refused: what depends on them is not judged.
	bad map[string]bool
	// tree is what the file holds, and looked the variables that it looks up secrets in.
	tree   map[string]any
	looked map[string]bool
	// nodes counts visited nodes against maxNodes; overflow is true once that or maxDepth was
	// passed, after which nothing is worth reading.
	nodes    int
	overflow bool
}

// mistake records what is wrong with the value of path.
func (l *loader) mistake(path string, c *complaint) {
	l.bad[path] = true
	f := l.src.Finding(path, c.message)
	f.Suggestion = c.suggestion
	l.report.add(f)
}

// mistakeAt records a mistake at a node of the file.
func (l *loader) mistakeAt(n *yaml.Node, path string, c *complaint) {
	l.bad[path] = true
	l.report.add(Finding{
		File: l.src.file, Line: n.Line, Col: n.Column, Path: path,
		Message: c.message, Suggestion: c.suggestion,
	})
}

// resolve follows an alias, and refuses nodes that no configuration needs. The bounds hold
// for aliases above all: a kilobyte of them can unfold to a terabyte.
func (l *loader) resolve(n *yaml.Node, path string, depth int) (*yaml.Node, bool) {
	l.nodes++
	if l.overflow {
		return nil, false
	}
	if depth > maxDepth || l.nodes > maxNodes {
		if !l.overflow {
			l.overflow = true
			l.mistakeAt(n, path, complain("unfolds too far: at most %d levels and %d values",
				maxDepth, maxNodes))
		}
		return nil, false
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		l.mistakeAt(n, path, complain("has a tag %s: tags are not used here", shown(n.Tag)))
		return nil, false
	}
	return n, true
}

// node reads the value of path as the schema's type. It returns false after a mistake.
func (l *loader) node(n *yaml.Node, s *schema, path string, depth int) (any, bool) {
	n, ok := l.resolve(n, path, depth)
	if !ok {
		return nil, false
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		l.mistakeAt(n, path, complain("has no value: give one, or take the key away"))
		return nil, false
	}
	switch {
	case s.kind == section && n.Kind == yaml.MappingNode:
		return l.section(n, s, path, depth), true
	case s.kind == list && n.Kind == yaml.SequenceNode:
		return l.list(n, s, path, depth), true
	case s.kind != section && s.kind != list && n.Kind == yaml.ScalarNode:
		return l.scalar(n, s, path)
	}
	l.mistakeAt(n, path, complain("must be %s, not %s", wanted(s), described(n)))
	return nil, false
}

func (l *loader) list(n *yaml.Node, s *schema, path string, depth int) []any {
	values := make([]any, 0, len(n.Content))
	for i, item := range n.Content {
		at := element(path, i)
		l.src.values[at] = Position{item.Line, item.Column}
		v, ok := l.node(item, s.elem, at, depth+1)
		if !ok {
			v = s.elem.zero() // keeps the indices of the others right
		}
		values = append(values, v)
	}
	return values
}

// zero stands in for a refused list element.
func (s *schema) zero() any {
	switch s.kind {
	case section:
		return map[string]any{}
	case number:
		return 0
	}
	return ""
}

func (l *loader) scalar(n *yaml.Node, s *schema, path string) (any, bool) {
	c := mistyped(n, s)
	var v any
	if c == nil {
		raw := n.Value
		if s.kind == boolean {
			raw = strings.ToLower(raw) // YAML 1.2 also has True and TRUE
		}
		v, c = parse(s, raw)
	}
	if c != nil {
		l.mistakeAt(n, path, c)
		return nil, false
	}
	return v, true
}

// numeric reports whether what a syntax asks for looks like a number, quoted or not.
func numeric(syntax string) bool {
	return syntax == "asn" || syntax == "latitude" || syntax == "longitude"
}

// mistyped complains of a scalar of another type than the schema's: YAML has types of its
// own, and a version that looks like a number must not become one in silence.
func mistyped(n *yaml.Node, s *schema) *complaint {
	tag := n.ShortTag()
	switch s.kind {
	case text:
		// A word to choose may be one that YAML takes for a boolean.
		word := tag == "!!bool" && slices.Contains(s.oneof, n.Value)
		if tag != "!!str" && !word && !numeric(s.syntax) {
			return complain("must be text, not %s: put it in quotes", described(n))
		}
	case number:
		if quoted(n) {
			return complain("must be a whole number, not text: take the quotes away")
		}
	case price:
		if quoted(n) {
			return complain("must be a number, not text: take the quotes away")
		}
	case boolean:
		if quoted(n) {
			return complain("must be true or false, not text: take the quotes away")
		}
		if tag != "!!bool" {
			return complain("must be true or false, not %s", shown(n.Value))
		}
	}
	return nil
}

func quoted(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
}

// pair is a key of a mapping and its value.
type pair struct {
	key, value *yaml.Node
	merged     bool // by <<, so that it gives way to the mapping's own key
}

// pairs lists a mapping's keys, those that << merges last.
func (l *loader) pairs(n *yaml.Node, path string, depth int) []pair {
	var own, merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() != "!!merge" {
			own = append(own, pair{key: key, value: value})
			continue
		}
		sources := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			sources = value.Content
		}
		for _, source := range sources {
			from, ok := l.resolve(source, path, depth+1)
			switch {
			case !ok:
			case from.Kind != yaml.MappingNode:
				l.mistakeAt(source, child(path, "<<"), complain("must merge a mapping"))
			default:
				for _, p := range l.pairs(from, path, depth+1) {
					p.merged = true
					merged = append(merged, p)
				}
			}
		}
	}
	return append(own, merged...)
}

func (l *loader) section(n *yaml.Node, s *schema, path string, depth int) map[string]any {
	values := make(map[string]any, len(n.Content)/2)
	lines := map[string]int{}
	for _, p := range l.pairs(n, path, depth) {
		if p.key.Kind != yaml.ScalarNode {
			l.mistakeAt(p.key, path, complain("a key must be plain text"))
			continue
		}
		key := p.key.Value
		at := child(path, key)
		if line, twice := lines[key]; twice {
			if !p.merged {
				l.mistakeAt(p.key, at, complain("is given twice, first on line %d", line))
			}
			continue
		}
		lines[key] = p.key.Line
		sub := s.field(key)
		if sub == nil {
			l.unknown(p.key, s, path)
			continue
		}
		l.locate(at, p)
		if v, ok := l.node(p.value, sub, at, depth+1); ok {
			values[key] = v
		}
	}
	return values
}

// locate indexes a path: a section or list is where its key stands, a value where it begins.
func (l *loader) locate(path string, p pair) {
	l.src.values[path] = Position{p.key.Line, p.key.Column}
	if p.value.Kind == yaml.ScalarNode && p.value.ShortTag() != "!!null" {
		l.src.values[path] = Position{p.value.Line, p.value.Column}
	}
}

// unknown refuses a key, and says what was probably meant.
func (l *loader) unknown(n *yaml.Node, s *schema, path string) {
	c := l.unknownKey(n.Value, s, path)
	l.mistakeAt(n, child(path, clip(n.Value)), c)
	if c.suggestion != "" {
		l.bad[child(path, c.suggestion)] = true
	}
}

// clip keeps a key that may be anything from filling the report.
func clip(key string) string {
	if len(key) <= nearest.Longest && !strings.ContainsFunc(key, func(r rune) bool { return r < ' ' }) {
		return key
	}
	return shown(key)
}

func (l *loader) unknownKey(key string, s *schema, path string) *complaint {
	if ways := s.secrets(key); len(ways) > 0 {
		l.bad[child(path, ways[0])] = true
		return complain("secrets come by %s, never in the file", strings.Join(ways, " or "))
	}
	if section, rest, ok := strings.Cut(key, "."); ok && s.field(section) != nil {
		return complain("unknown key: keys nest, so write %s: and below it %s:",
			section, rest)
	}
	c := complain("unknown key")
	if len(l.report.Mistakes) >= maxFindings {
		return c // nobody will read it
	}
	if c.suggestion = nearest.Name(key, s.keys()); c.suggestion != "" {
		return c
	}
	homes := l.schema.homes(key, "")
	homes = slices.DeleteFunc(homes, func(h string) bool { return len(homes) > 4 })
	for i, h := range homes {
		if h == "" {
			homes[i] = "the top level"
		}
	}
	if len(homes) > 0 {
		return complain("unknown key: %s belongs under %s", key, strings.Join(homes, " or "))
	}
	return c
}

// wanted says in words what a schema takes.
func wanted(s *schema) string {
	switch s.kind {
	case section:
		return "a section with keys"
	case list:
		return "a list"
	case number:
		return "a whole number"
	case boolean:
		return "true or false"
	case duration:
		return "a duration such as 20s"
	case size:
		return "a size such as 256MiB"
	case price:
		return "a number such as 0.02"
	}
	return "text"
}

// described says in words what a node is.
func described(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	case "!!null":
		return "nothing"
	}
	return "text"
}
