package config

import (
	"reflect"
	"strings"
	"time"
)

// kind is what a key holds.
type kind int

const (
	section kind = iota // a mapping with known keys
	list
	text
	boolean
	number
	duration
	size
	price
)

// schema is the shape of a section, list or value, read from the structs and their tags:
//
//	koanf     the key; "-" for fields that Load computes
//	required  the key must be given and not be empty
//	min, max  inclusive bounds of a number, duration, size or price, written as in the file; they
//	          and the next three hold for a list's elements
//	step      what a duration must be a multiple of
//	oneof     the words to choose from, separated by blanks
//	syntax    the name of a syntax: see syntaxes in syntax.go
//	secret    the credential that the key leads to
type schema struct {
	kind     kind
	fields   []field // of a section, in the order of the struct
	elem     *schema // of a list
	required bool
	oneof    []string
	min, max string
	step     string
	syntax   string
	secret   string
	// optional sections (pointers) get no defaults unless the file has them.
	optional bool
}

type field struct {
	key    string
	schema *schema
}

// field returns the schema of a key of a section, or nil.
func (s *schema) field(key string) *schema {
	for _, f := range s.fields {
		if f.key == key {
			return f.schema
		}
	}
	return nil
}

// keys are the keys of a section.
func (s *schema) keys() []string {
	keys := make([]string, len(s.fields))
	for i, f := range s.fields {
		keys[i] = f.key
	}
	return keys
}

// secrets are the keys of a section that lead to the credential called name.
func (s *schema) secrets(name string) []string {
	var keys []string
	for _, f := range s.fields {
		if f.schema.secret == name {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// homes returns the sections that have the key, as paths with [] for any element. It walks
// the whole tree below s.
func (s *schema) homes(key, path string) []string {
	switch s.kind {
	case list:
		return s.elem.homes(key, path+"[]")
	case section:
		var found []string
		if s.field(key) != nil {
			found = append(found, path)
		}
		for _, f := range s.fields {
			found = append(found, f.schema.homes(key, child(path, f.key))...)
		}
		return found
	}
	return nil
}

// newSchema reads the shape of Config.
func newSchema() *schema { return schemaOf(reflect.TypeFor[Config](), "") }

func schemaOf(t reflect.Type, tag reflect.StructTag) *schema {
	s := &schema{
		required: tag.Get("required") != "", oneof: strings.Fields(tag.Get("oneof")),
		min: tag.Get("min"), max: tag.Get("max"), step: tag.Get("step"),
		syntax: tag.Get("syntax"), secret: tag.Get("secret"),
	}
	if t.Kind() == reflect.Pointer {
		t, s.optional = t.Elem(), true
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		s.kind = duration
	case t == reflect.TypeFor[Bytes]():
		s.kind = size
	case t == reflect.TypeFor[Price]():
		s.kind = price
	case t.Kind() == reflect.Slice:
		s.kind = list
		s.elem = schemaOf(t.Elem(), tag)
		s.elem.required = false
	case t.Kind() == reflect.Struct:
		s.kind = section
		s.fields = fieldsOf(t)
	case t.Kind() == reflect.Bool:
		s.kind = boolean
	case t.Kind() == reflect.Int:
		s.kind = number
	default:
		s.kind = text
	}
	return s
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if key := f.Tag.Get("koanf"); key != "-" {
			fields = append(fields, field{key: key, schema: schemaOf(f.Type, f.Tag)})
		}
	}
	return fields
}
