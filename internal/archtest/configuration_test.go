package archtest

import (
	"fmt"
	"go/ast"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pointsman/internal/config"
)

// minimal is a config in which every list has one element and every optional section stands,
// with required keys alone: what else Load returns is a default.
const minimal = `
store: {kind: redis, redis: {address: "127.0.0.1:6379", tls: {}}}
tsig_keys: [{name: k, secret_env: CI_KEY}]
zones:
  - name: example.test
    ns: [ns1.example.test]
    records: [{name: ns1, type: A, data: 192.0.2.53}]
    dnssec: {key_dir: /k}
backends:
  - name: one
    addresses: [192.0.2.1]
    https: {}
    contract: {tiers: [{}]}
    cache: {working_set: 1}
    probe:
      url: http://192.0.2.1/
      headers: [{name: x-probe}]
      expect: {headers: [{name: server}]}
feeds: [{name: f}]
pools: [{name: p, members: [{backend: one}]}]
hosts: [{name: cdn.example.test, pools: [p], places: [{countries: [DE], pools: [p]}]}]
dns: {dnstap: {to: "file:/d"}, decision_log: {file: /l}}
geo: {lists: [{name: l, prefixes: [192.0.2.0/24]}]}
providers: [{name: e, kind: edge, nodes: ["http://127.0.0.1:8053"]}]
edge: {sites: [{hosts: [cdn.example.test], origin: "http://192.0.2.1"}]}
admin: {tokens: [{name: ci, token_env: CI_TOKEN, scopes: [read]}]}
`

// given are keys that stand in minimal without being required: one of several must be there.
var given = []string{"tsig_keys[].secret_env", "hosts[].places[].countries",
	"backends[].probe.url", "admin.tokens[].token_env"}

// key is one line of the reference.
type key struct{ path, kind, fallback, limits, about string }

// TestTheReferenceOfTheConfigurationIsTheCodes writes or compares the tables of
// docs/configuration.md: keys, types and limits from the structs, meanings from their comments,
// defaults from what Load fills in.
func TestTheReferenceOfTheConfigurationIsTheCodes(t *testing.T) {
	filled, report, err := config.Load(config.Options{Data: []byte(minimal),
		Env: []string{"CI_TOKEN=not-a-token", "CI_KEY=bm90IGEgcmVhbCBrZXksIG5vdCBvbmU="}})
	if err != nil {
		t.Fatalf("the minimal config: %v %v", err, report)
	}
	plain := config.Default()
	if filled.Vantage != filled.Node || filled.Zones[0].SOA.Mbox != "hostmaster.example.test" {
		t.Errorf("vantage %q of node %q, mbox %q: the computed defaults have changed",
			filled.Vantage, filled.Node, filled.Zones[0].SOA.Mbox)
	}
	r := &reference{t: t, comments: comments(t), computed: map[string]string{
		"node": "the host name", "vantage": "`node`", "zones[].soa.mbox": "`hostmaster` in the zone",
		"zones[].dnssec.key_dir":    "`dnssec` in `state_dir`",
		"hosts[].ttl_degraded":      "half of `ttl`",
		"hosts[].places[].name":     "its countries, as in `at-de`",
		"backends[].probe.interval": "`probing.interval`",
		"backends[].probe.timeout":  "`probing.timeout`",
		"backends[].probe.rise":     "`probing.rise`",
		"backends[].probe.fall":     "`probing.fall`",
	}}
	r.section("", reflect.ValueOf(*filled), reflect.ValueOf(*plain))
	for path := range r.computed {
		t.Errorf("%s has a computed default and is no key", path)
	}
	var b strings.Builder
	for _, s := range r.sections {
		title := "Top level"
		if s.path != "" {
			title = "`" + s.path + "`"
		}
		fmt.Fprintf(&b, "### %s\n\n", title)
		if s.about != "" {
			fmt.Fprintf(&b, "%s\n\n", s.about)
		}
		b.WriteString("| Key | Type | Default | Limits | Meaning |\n|---|---|---|---|---|\n")
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.path, k.kind, k.fallback, k.limits,
				squeeze(k.about))
		}
		b.WriteString("\n")
	}
	holds(t, "docs/configuration.md", "keys", b.String())
}

// TestTheKeysThatNeedARestartAreListed reads them from the code of the reload.
func TestTheKeysThatNeedARestartAreListed(t *testing.T) {
	var names []string
	for _, s := range parsed(t) {
		if filepath.ToSlash(s.path) != "internal/app/reload.go" {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "needRestart" {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.CompositeLit)
				if !ok || lit.Type != nil || len(lit.Elts) != 3 {
					return true
				}
				names = append(names, "`"+strings.Replace(literal(t, lit.Elts[0]), " (", "` (", 1)+"`")
				return true
			})
		}
	}
	for i, n := range names {
		if strings.HasSuffix(n, ")`") {
			names[i] = strings.TrimSuffix(n, "`")
		}
	}
	if len(names) < 5 {
		t.Fatalf("found %v: reading the code is broken", names)
	}
	slices.Sort(names)
	holds(t, "docs/configuration.md", "restart", strings.Join(names, ", ")+".")
}

// comments maps Type.Field and Type to what the source says of them.
func comments(t *testing.T) map[string]string {
	out := map[string]string{}
	for _, s := range parsed(t) {
		if s.pkg != "internal/config" || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			g, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range g.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				out[ts.Name.Name] = plainText(g.Doc.Text(), ts.Name.Name)
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						out[ts.Name.Name+"."+name.Name] = plainText(f.Doc.Text(), name.Name)
					}
				}
			}
			return true
		})
	}
	return out
}

// plainText takes the Go name away that a comment begins with.
func plainText(text, name string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, verb := range []string{"are ", "is ", "holds ", "hold ", "says ", "names ", ""} {
		if rest, ok := strings.CutPrefix(text, name+" "+verb); ok {
			if verb == "names " || verb == "says " {
				rest = verb + rest
			}
			return forPeople(rest)
		}
	}
	return forPeople(text)
}

// forPeople says what a Go comment says to those who write YAML.
func forPeople(text string) string {
	text = strings.NewReplacer("; nil otherwise", "", "nil means", "left out:",
		"Load makes a name", "A name", "Load makes it", "It becomes",
		"without a dot full", "without a dot is made full", " and takes a final dot away",
		", without a final dot", "0 stands for the zone's and comes from leaving it out",
		"left out: the zone's").Replace(text)
	if first, _, _ := strings.Cut(text, " "); strings.ContainsAny(first, ".:") {
		return text // a key or a form: as it is written
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

type section struct {
	path, about string
	keys        []key
}

type reference struct {
	t        *testing.T
	comments map[string]string
	computed map[string]string
	sections []section
}

// section lists the keys of a struct. plain is the same struct of the defaults alone; it is
// missing below lists and optional sections.
func (r *reference) section(path string, v, plain reflect.Value) {
	typ := v.Type()
	s := section{path: path}
	if path != "" {
		s.about = r.comments[typ.Name()]
	}
	at := len(r.sections)
	r.sections = append(r.sections, s)
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := f.Tag.Get("koanf")
		if name == "-" {
			continue
		}
		full := strings.TrimPrefix(path+"."+name, ".")
		about := r.comments[typ.Name()+"."+f.Name]
		if about == "" && inner(f.Type) == nil {
			r.t.Errorf("%s has no comment to tell people", full)
		}
		if st := inner(f.Type); st != nil {
			r.nested(&s, full, name, about, f.Type, v.Field(i), plain, i)
			continue
		}
		value := v.Field(i)
		if plain.IsValid() {
			value = plain.Field(i)
		}
		s.keys = append(s.keys, key{path: name, kind: kindOf(f.Type), about: about,
			fallback: r.fallback(full, f, value), limits: r.limits(full, f)})
	}
	r.sections[at] = s
}

// nested lists a key that holds a section or a list of them, and the section after its parent.
func (r *reference) nested(
	s *section, full, name, about string, typ reflect.Type, v, plain reflect.Value, i int,
) {
	kind, fallback := "section", "–"
	if about == "" {
		about = r.comments[inner(typ).Name()]
	}
	switch {
	case typ.Kind() == reflect.Slice:
		kind = "list of sections"
		full += "[]"
		if v.Len() == 0 {
			r.t.Errorf("the minimal config has no element of %s", full)
			return
		}
		r.section(full, v.Index(0), reflect.Value{})
	case typ.Kind() == reflect.Pointer:
		kind = "optional section"
		value := reflect.New(typ.Elem()).Elem() // one that the minimal config leaves out
		if !v.IsNil() {
			value = v.Elem()
		}
		r.section(full, value, reflect.Value{})
	default:
		sub := reflect.Value{}
		if plain.IsValid() {
			sub = plain.Field(i)
		}
		r.section(full, v, sub)
	}
	s.keys = append(s.keys, key{path: name, kind: kind + " [`" + full + "`](#" + slug("`"+full+"`") + ")",
		fallback: fallback, limits: "", about: about})
}

// inner is the struct below a section, list of sections or optional section; nil for values.
func inner(typ reflect.Type) reflect.Type {
	if typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Struct {
		return typ
	}
	return nil
}

func kindOf(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		return "duration"
	case typ == reflect.TypeFor[config.Price]():
		return "decimal"
	case typ == reflect.TypeFor[config.Bytes]():
		return "size"
	case typ.Kind() == reflect.Slice:
		return "list of " + strings.Replace(kindOf(typ.Elem()), "number", "numbers", 1)
	case typ.Kind() == reflect.Bool:
		return "true or false"
	case typ.Kind() == reflect.Int:
		return "number"
	}
	return "text"
}

// fallback is what a key has when nobody sets it.
func (r *reference) fallback(full string, f reflect.StructField, v reflect.Value) string {
	if words, ok := r.computed[full]; ok {
		delete(r.computed, full)
		return words
	}
	if f.Tag.Get("required") != "" && v.Kind() != reflect.Slice {
		if full == "admin.listen" {
			return "`" + v.String() + "`"
		}
		return "**required**"
	}
	if slices.Contains(given, full) {
		return "–"
	}
	switch {
	case v.Kind() == reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, fmt.Sprint(v.Index(i).Interface()))
		}
		if must := f.Tag.Get("required") != "" || f.Name == "Addresses" || f.Name == "Nodes" ||
			f.Name == "NS"; must &&
			full != "dns.listen" && full != "edge.listen" {
			if f.Tag.Get("required") != "" {
				return "**required**"
			}
			return "–"
		}
		if len(items) == 0 {
			return "–"
		}
		return "`[" + strings.Join(items, ", ") + "]`"
	case v.Type() == reflect.TypeFor[time.Duration]():
		if v.Int() == 0 {
			return "–"
		}
		return "`" + short(v.Interface().(time.Duration)) + "`"
	case v.Kind() == reflect.String && v.String() == "":
		return "–"
	}
	return "`" + fmt.Sprint(v.Interface()) + "`"
}

// short writes a duration as people do in the file.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// limits says which values a key takes.
func (r *reference) limits(full string, f reflect.StructField) string {
	if full == "providers[].kind" { // checked in code, since kinds that are gone get advice
		return fmt.Sprintf("`%s` `%s` `%s`", config.ProviderEdge, config.ProviderFastly,
			config.ProviderCloudflare)
	}
	var parts []string
	if words := strings.Fields(f.Tag.Get("oneof")); len(words) > 0 {
		parts = append(parts, "`"+strings.Join(words, "` `")+"`")
	}
	if f.Tag.Get("min") != "" {
		parts = append(parts, f.Tag.Get("min")+" to "+f.Tag.Get("max"))
	}
	if step := f.Tag.Get("step"); step != "" {
		parts = append(parts, "whole "+map[string]string{"1s": "seconds"}[step])
	}
	says := map[string]string{
		"": "", "name": "a name: letters, digits, `.` `_` `-`, up to 63", "hostname": "a host name",
		"mailbox": "a name with a dot for the @", "ip": "an IP address, without a port",
		"hostport": "`host:port`", "listen": "`address:port`", "url": "an http or https URL",
		"token": "a header name", "file": "a file name",
		"network": "a network, as in `192.0.2.0/24`", "addrport": "`address:port`",
		"dnstap": "`unix:/path`, `tcp:host:port` or `file:/path`",
	}
	word, known := says[f.Tag.Get("syntax")]
	if !known {
		word = strconv.Quote(f.Tag.Get("syntax"))
	}
	if word != "" {
		parts = append(parts, word)
	}
	return strings.Join(parts, "; ")
}
