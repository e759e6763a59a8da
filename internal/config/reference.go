package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
)

// The sources of the structs: their comments are the reference.
var (
	//go:embed config.go
	structs string
	//go:embed steeringkeys.go
	steeringStructs string
	//go:embed feeds.go
	feedStructs string
	//go:embed geo.go
	geoStructs string
)

// Reference describes every key of the file, with its type, default, limits and meaning, as a
// Markdown table. It is made from the structs, their tags and comments and from the defaults,
// so it cannot tell anything else than Load does.
func Reference() string {
	var b strings.Builder
	b.WriteString("| Key | Type | Default | Limits | Meaning |\n|---|---|---|---|---|\n")
	values := map[string]string{}
	for _, d := range defaults() {
		values[d.path] = d.value
	}
	for _, key := range inherited() {
		values["backends[].probe."+key] = "`probing." + key + "`"
	}
	rows(&b, newSchema(), reflect.TypeFor[Config](), "", comments(), values)
	return b.String()
}

// rows writes the keys of a section, and below each section or list of sections its own.
func rows(b *strings.Builder, s *schema, t reflect.Type, path string,
	meaning, values map[string]string,
) {
	for i := range t.NumField() {
		f := t.Field(i)
		sub := s.field(f.Tag.Get("koanf"))
		if sub == nil {
			continue
		}
		at, elem, below := child(path, f.Tag.Get("koanf")), sub, f.Type
		if sub.kind == list {
			elem, below = sub.elem, below.Elem()
		}
		if below.Kind() == reflect.Pointer {
			below = below.Elem()
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", at, typeName(sub),
			defaultOf(sub, values[at]), limits(sub, elem), meaning[t.Name()+"."+f.Name])
		if elem.kind == section {
			if sub.kind == list {
				at += "[]"
			}
			rows(b, elem, below, at, meaning, values)
		}
	}
}

func typeName(s *schema) string {
	switch s.kind {
	case list:
		if s.elem.kind == section {
			return "list of sections"
		}
		return "list of " + typeName(s.elem) + "s"
	case section:
		return "section"
	case boolean:
		return "boolean"
	case number:
		return "number"
	case duration:
		return "duration"
	case size:
		return "size"
	case price:
		return "decimal"
	}
	return "text"
}

func defaultOf(s *schema, value string) string {
	switch {
	case strings.HasPrefix(value, "`"):
		return value
	case value == "":
		return ""
	case s.kind == list:
		return "`[" + strings.ReplaceAll(value, ",", ", ") + "]`"
	}
	return "`" + value + "`"
}

func limits(s, elem *schema) string {
	var all []string
	if s.required {
		all = append(all, "required")
	}
	if len(elem.oneof) > 0 {
		all = append(all, "one of `"+strings.Join(elem.oneof, "`, `")+"`")
	}
	if elem.min != "" {
		all = append(all, elem.min+" to "+elem.max)
	}
	if elem.step != "" {
		all = append(all, "a multiple of "+elem.step)
	}
	return strings.Join(all, "; ")
}

// comments reads the meaning of each field, by Type.Field: its comment, or the comment of its
// type where it has none.
func comments() map[string]string {
	types, fields := map[string]string{}, map[string]string{}
	shape := map[string]*ast.StructType{}
	for _, d := range slices.Concat(declarations(structs), declarations(steeringStructs),
		declarations(feedStructs), declarations(geoStructs)) {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		spec := decl.Specs[0].(*ast.TypeSpec)
		types[spec.Name.Name] = oneLine(decl.Doc)
		if st, ok := spec.Type.(*ast.StructType); ok {
			shape[spec.Name.Name] = st
		}
	}
	for name, st := range shape {
		for _, f := range st.Fields.List {
			text := oneLine(f.Doc)
			if named, ok := f.Type.(*ast.Ident); text == "" && ok {
				text = types[named.Name]
			}
			fields[name+"."+f.Names[0].Name] = text
		}
	}
	return fields
}

func declarations(source string) []ast.Decl {
	file, err := parser.ParseFile(token.NewFileSet(), "config", source, parser.ParseComments)
	if err != nil {
		panic("config: its own source does not parse: " + err.Error()) // it was compiled
	}
	return file.Decls
}

func oneLine(c *ast.CommentGroup) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(c.Text()), " "), "|", `\|`)
}
