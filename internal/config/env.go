package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"

	"pointsman/internal/nearest"
)

// envPrefix begins the variables that override keys. The rest of the name is the key path in
// upper case with __ for a level: POINTSMAN_ADMIN__LISTEN is admin.listen. A list of values
// is given whole, separated by commas (POINTSMAN_DNS__LISTEN=127.0.0.1:53,[::1]:53); one
// element of any list is named by its index, from 0 (POINTSMAN_BACKENDS__0__CNAME), and the
// index after the last one adds an element.
const envPrefix = "POINTSMAN_"

// environment lays the variables over what k holds.
func (l *loader) environment(k *koanf.Koanf) error {
	layer := map[string]any{}
	vars := slices.Sorted(slices.Values(l.opts.Env))
	err := koanf.New(delimiter).Load(env.Provider(delimiter, env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return vars },
		TransformFunc: func(name, value string) (string, any) {
			l.variable(k, layer, name, value)
			return "", nil // layer has it: list elements need what earlier ones set
		},
	}), nil)
	if err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	return k.Load(confmap.Provider(layer, delimiter), nil)
}

// variable takes one variable into the layer. One that names no section is refused only when
// it can hardly be meant for anything else: others read variables with our prefix too.
func (l *loader) variable(k *koanf.Koanf, layer map[string]any, name, value string) {
	if slices.Contains(l.opts.Reserved, name) || serviceLink(name) || l.credentials()[name] {
		return
	}
	steps := strings.Split(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "__")
	if len(steps) > 1 || l.schema.field(steps[0]) != nil || l.schema.secrets(steps[0]) != nil {
		l.set(k, layer, name, steps, value)
		return
	}
	near := nearest.Name(strings.TrimPrefix(name, envPrefix), l.schema.variables(""))
	if near != "" {
		near = envPrefix + near
	}
	f := Finding{File: name, Message: "is no key of the configuration", Suggestion: near}
	switch {
	case strings.ReplaceAll(near, "__", "_") == name:
		l.report.add(f)
	case near != "":
		l.report.Warnings = append(l.report.Warnings, f)
	}
}

// variables names the variable of every key that is not in a list of sections.
func (s *schema) variables(prefix string) []string {
	var names []string
	for _, f := range s.fields {
		name := prefix + strings.ToUpper(f.key)
		if f.schema.kind == section {
			names = append(names, f.schema.variables(name+"__")...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// credentials are the variables that the file looks up secrets in.
func (l *loader) credentials() map[string]bool {
	if l.looked == nil {
		l.looked = map[string]bool{}
		lookups(l.tree, l.schema, l.looked)
	}
	return l.looked
}

func lookups(tree any, s *schema, found map[string]bool) {
	switch v := tree.(type) {
	case map[string]any:
		for _, f := range s.fields {
			if sub, ok := v[f.key]; ok {
				lookups(sub, f.schema, found)
			}
		}
	case []any:
		for _, item := range v {
			lookups(item, s.elem, found)
		}
	case string:
		if s.secret != "" {
			found[v] = true
		}
	}
}

// serviceLink recognises what Kubernetes sets for a service called pointsman: variables that
// nobody chose and that must not keep the process from starting.
func serviceLink(name string) bool {
	return regexp.MustCompile(`^POINTSMAN_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|` +
		`PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`).MatchString(name)
}

// overrides returns the flags as a layer over what k holds.
func (l *loader) overrides(k *koanf.Koanf) map[string]any {
	layer := map[string]any{}
	for _, path := range sorted(l.opts.Overrides) {
		l.set(k, layer, "flag "+path, split(path), l.opts.Overrides[path])
	}
	return layer
}

// set reads one value from outside the file into layer, whose keys are paths of sections. A
// list that the path goes through is copied from k into the layer, and changed there.
func (l *loader) set(k *koanf.Koanf, layer map[string]any, origin string, steps []string,
	value any,
) {
	s, path, at := l.schema, "", -1
	for i, step := range steps {
		next, sub := l.step(s, path, step, origin)
		if sub == nil {
			return
		}
		s, path = sub, next
		if s.kind == list && at < 0 && i < len(steps)-1 {
			at = i
		}
	}
	v, c := l.outside(s, value)
	if c != nil {
		l.bad[path] = true
		l.report.add(Finding{
			File: origin, Path: path, Message: c.message, Suggestion: c.suggestion,
		})
		return
	}
	if at < 0 {
		l.src.set(path, origin)
		layer[strings.Join(steps, delimiter)] = v
		return
	}
	key := strings.Join(steps[:at+1], delimiter)
	if _, ok := layer[key]; !ok {
		layer[key] = k.Get(key)
	}
	changed, c := put(layer[key], steps[at+1:], v)
	if c != nil {
		l.bad[path] = true
		l.report.add(Finding{File: origin, Path: path, Message: c.message})
		return
	}
	l.src.set(path, origin)
	layer[key] = changed
}

// step goes one key or index down, and reports what does not exist.
func (l *loader) step(s *schema, path, step, origin string) (string, *schema) {
	switch s.kind {
	case section:
		at := child(path, clip(step))
		if sub := s.field(step); sub != nil {
			return at, sub
		}
		c := l.unknownKey(step, s, path)
		l.report.add(Finding{
			File: origin, Path: at, Message: c.message, Suggestion: c.suggestion,
		})
	case list:
		i, err := strconv.Atoi(step)
		if err == nil && i >= 0 && i < maxNodes {
			return element(path, i), s.elem
		}
		l.report.add(Finding{
			File: origin, Path: path,
			Message: fmt.Sprintf("%s is not an index: a list's elements are 0, 1, 2 …",
				shown(step)),
		})
	default:
		l.report.add(Finding{
			File: origin, Path: path, Message: "is one value and has no keys below it",
		})
	}
	return "", nil
}

// outside reads a value that comes as a string, or as a flag's own type.
func (l *loader) outside(s *schema, value any) (any, *complaint) {
	switch v := value.(type) {
	case string:
		return parseOutside(s, v)
	case []string:
		if s.kind != list {
			return nil, complain("must be %s, not a list", wanted(s))
		}
		return parseAll(s, v)
	case bool, int, time.Duration, Bytes, Price:
		return parseOutside(s, fmt.Sprint(v))
	}
	return nil, complain("must be %s, not a %T", wanted(s), value)
}

func parseOutside(s *schema, raw string) (any, *complaint) {
	switch s.kind {
	case section:
		return nil, complain("is a section: set a key of it, such as %s", s.keys()[0])
	case list:
		if s.elem.kind == section {
			return nil, complain("is a list of sections: set a key of one by its index")
		}
		if strings.TrimSpace(raw) == "" {
			return nil, complain("is empty")
		}
		return parseAll(s, strings.Split(raw, ","))
	}
	return parse(s, raw)
}

func parseAll(s *schema, raw []string) (any, *complaint) {
	if s.elem.kind == section {
		return nil, complain("is a list of sections: set a key of one by its index")
	}
	items := make([]any, 0, len(raw))
	for _, r := range raw {
		v, c := parse(s.elem, strings.TrimSpace(r))
		if c != nil {
			return nil, c
		}
		items = append(items, v)
	}
	return items, nil
}

// put sets the value at the steps below a tree of sections and lists, and returns the tree.
func put(tree any, steps []string, value any) (any, *complaint) {
	if len(steps) == 0 {
		return value, nil
	}
	i, err := strconv.Atoi(steps[0])
	if err != nil {
		m, ok := tree.(map[string]any)
		if !ok {
			m = map[string]any{}
		}
		v, c := put(m[steps[0]], steps[1:], value)
		if c == nil {
			m[steps[0]] = v
		}
		return m, c
	}
	items, _ := tree.([]any)
	if i > len(items) {
		return tree, complain("leaves a gap: the list has %d elements", len(items))
	}
	if i == len(items) {
		items = append(slices.Clone(items), nil)
	}
	v, c := put(items[i], steps[1:], value)
	if c != nil {
		return tree, c
	}
	items[i] = v
	return items, nil
}
