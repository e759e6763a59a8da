package config

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// delimiter separates keys inside koanf. It cannot occur in a key, while a dot could.
const delimiter = "\x1f"

// Options are the sources of a configuration.
type Options struct {
	// Path is the file. Empty means Data, or the defaults alone when that is nil too.
	Path string
	// Data is a file's content, instead of Path.
	Data []byte
	// Name is what findings call the file; empty means Path, or "config" for Data.
	Name string
	// Env holds NAME=value pairs, in the form of os.Environ. See envPrefix for their names.
	// It is also where token_env and password_env are looked up. Nil: no environment.
	Env []string
	// Reserved are variables with our prefix that configure something else, such as the
	// command line's own; they are passed over.
	Reserved []string
	// Overrides are flags: values by key path, as in admin.listen or dns.listen[0]. A value
	// is a string as in the file, or a bool, int, time.Duration, Bytes, Price or []string.
	Overrides map[string]any
}

// Load reads, merges and checks a configuration. Flags win over the environment, which wins
// over the file, which wins over the defaults. The report is never nil. When it holds
// mistakes the Config is nil and the error an *Error; there is no other error.
//
// Load reads the secret files, certificates and keys that the configuration names, and opens
// nothing else. It is safe for concurrent use.
func Load(opts Options) (*Config, *Report, error) {
	name := cmp.Or(opts.Name, opts.Path, "config")
	if opts.Path == "" && opts.Data == nil {
		name = cmp.Or(opts.Name, "defaults")
	}
	l := &loader{
		opts: opts, schema: newSchema(), src: newSource(name), bad: map[string]bool{},
	}
	l.report = &Report{Source: l.src}
	cfg := l.load()
	if err := l.report.finish(); err != nil {
		return nil, l.report, err
	}
	return cfg, l.report, nil
}

// Default returns the configuration that a file without keys would give: no zones, backends
// or hosts, everything on loopback. The caller may change it.
func Default() *Config {
	cfg, _, err := Load(Options{})
	if err != nil {
		panic("config: the defaults are refused: " + err.Error()) // a test holds this
	}
	return cfg
}

func (l *loader) load() *Config {
	tree, ok := l.file()
	if !ok {
		return nil
	}
	l.tree = tree
	merged := l.merge(tree)
	if merged == nil {
		return nil
	}
	l.fill(merged, l.schema, "", "")
	l.inherit(merged)
	var cfg Config
	k := koanf.New(delimiter)
	err := errors.Join(k.Load(confmap.Provider(merged, ""), nil),
		k.UnmarshalWithConf("", &cfg, koanf.UnmarshalConf{Tag: "koanf"}))
	if err != nil {
		l.refuse(Position{}, "cannot be decoded: %v", err)
		return nil
	}
	l.names(&cfg)
	c := &checker{
		cfg: &cfg, src: l.src, report: l.report, bad: l.bad, tainted: taint(l.bad),
		indices: map[string]map[string]int{}, facts: map[int]*poolFacts{},
		trees: newTrees(),
		given: l.opts.Path != "" || l.opts.Data != nil,
	}
	c.require(merged, l.schema, "")
	c.all()
	l.files(&cfg)
	return &cfg
}

// merge lays the environment over the file's tree, and flags over both.
func (l *loader) merge(tree map[string]any) map[string]any {
	k := koanf.New(delimiter)
	err := k.Load(confmap.Provider(tree, ""), nil)
	if err == nil {
		err = l.environment(k)
	}
	if err == nil {
		err = k.Load(confmap.Provider(l.overrides(k), delimiter), nil)
	}
	if err != nil {
		l.refuse(Position{}, "cannot be merged: %v", err)
		return nil
	}
	return k.Raw()
}

// fill adds the defaults below a section that is there. pattern is path with [] for indices.
func (l *loader) fill(tree map[string]any, s *schema, path, pattern string) {
	for _, f := range s.fields {
		at := child(pattern, f.key)
		switch f.schema.kind {
		case section:
			sub, ok := tree[f.key].(map[string]any)
			if !ok && f.schema.optional {
				continue
			}
			if !ok {
				sub = map[string]any{}
				tree[f.key] = sub
			}
			l.fill(sub, f.schema, child(path, f.key), at)
		case list:
			items, _ := tree[f.key].([]any)
			for i, item := range items {
				if m, ok := item.(map[string]any); ok {
					l.fill(m, f.schema.elem, element(child(path, f.key), i), at+"[]")
				}
			}
			setDefault(tree, f, at)
		default:
			setDefault(tree, f, at)
		}
	}
}

func setDefault(tree map[string]any, f field, pattern string) {
	if _, ok := tree[f.key]; ok {
		return
	}
	for _, d := range defaults() {
		if d.path != pattern {
			continue
		}
		if f.schema.kind != list {
			tree[f.key], _ = parse(f.schema, d.value)
			return
		}
		var items []any
		for raw := range strings.SplitSeq(d.value, ",") {
			v, _ := parse(f.schema.elem, raw)
			items = append(items, v)
		}
		tree[f.key] = items
	}
}

// inherit gives each backend's probe what it does not say itself from probing.
func (l *loader) inherit(tree map[string]any) {
	from, _ := tree["probing"].(map[string]any)
	backends, _ := tree["backends"].([]any)
	for _, b := range backends {
		backend, _ := b.(map[string]any)
		probe, ok := backend["probe"].(map[string]any)
		if !ok {
			continue
		}
		for _, key := range inherited() {
			if _, given := probe[key]; !given {
				probe[key] = from[key]
			}
		}
	}
}

// names fills in the defaults that depend on the machine or on another key.
func (l *loader) names(cfg *Config) {
	if cfg.Node == "" {
		host, err := os.Hostname()
		host, _, _ = strings.Cut(host, ".")
		if err != nil || checkName(host) != nil || host == "" {
			host = "node"
		}
		cfg.Node = host
	}
	cfg.Vantage = cmp.Or(cfg.Vantage, cfg.Node)
	for i := range cfg.Hosts {
		cfg.Hosts[i].namePlaces()
		cfg.Hosts[i].shortenTTL()
		if h := &cfg.Hosts[i]; h.LeastTTL == 0 {
			h.LeastTTL = min(leastTTL, h.TTL)
		}
	}
	for i := range cfg.Zones {
		z := &cfg.Zones[i]
		z.SOA.Mbox = cmp.Or(z.SOA.Mbox, "hostmaster."+z.Name)
		for j, ns := range z.NS {
			if ns != "" && !strings.Contains(ns, ".") {
				z.NS[j] = ns + "." + z.Name
			}
		}
		for j := range z.Records {
			z.Records[j].Type = strings.ToUpper(z.Records[j].Type)
		}
	}
}

// sorted returns a map's keys in order, so that findings come in the same order each time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
