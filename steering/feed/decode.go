package feed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/steering"
)

// Bounds of documents.
const (
	// MaxDocument is the largest document, in bytes.
	MaxDocument = 1 << 20
	// skew is how far a document's clock may be ahead of ours.
	skew = time.Minute
	// mostRefused bounds the refusals that are told of one document; all are counted.
	mostRefused = 20
)

// The reasons for which a part of a document is refused.
const (
	refusedDocument = "document" // not the JSON that is wanted: all of it
	refusedBackend  = "backend"  // no backend of the config, or none of this feed
	refusedField    = "field"    // no field that there is, or none of this feed
	refusedHost     = "host"     // no steered name
	refusedValue    = "value"    // of another type, or out of its bounds
	refusedTime     = "time"     // from the future, or longer ago than values are kept
	refusedOld      = "old"      // measured before what was said last
)

// Refusal is a part of a document that was not taken; the last good value stays.
type Refusal struct {
	Path   string `json:"path"`   // such as backends.fastly.weight
	Reason string `json:"reason"` // one word
	Detail string `json:"detail"`
}

// Error tells where and why.
func (r Refusal) Error() string { return r.Path + ": " + r.Detail }

// said is one value of a document.
type said struct {
	value     uint64
	at        time.Time
	withdrawn bool
}

// document is what a feed said at one time.
type document struct {
	said    map[key]said
	refused []Refusal
}

func (d *document) refuse(path, reason, format string, args ...any) {
	d.refused = append(d.refused, Refusal{path, reason, fmt.Sprintf(format, args...)})
}

// decode reads a document of a feed that was heard at a time. It is strict: what it doesn't know,
// what the feed may not speak of, and what is out of bounds is refused. The entry of a backend is
// taken as a whole or not at all. The error says that nothing can be read.
func decode(f *Feed, data []byte, now time.Time) (document, error) {
	d := document{said: map[key]said{}}
	var top map[string]json.RawMessage
	if err := one(data, &top); err != nil {
		return d, Refusal{"document", refusedDocument, err.Error()}
	}
	for _, name := range sorted(top) {
		if name != "backends" {
			d.refuse(name, refusedField, "there is no such key: a document is {\"backends\": {…}}")
		}
	}
	var backends map[string]json.RawMessage
	if raw, ok := top["backends"]; !ok || one(raw, &backends) != nil || backends == nil {
		return d, Refusal{"backends", refusedDocument, "must be an object with backends' names"}
	}
	for _, name := range sorted(backends) {
		d.backend(f, name, backends[name], now)
	}
	return d, nil
}

// one reads one JSON value and nothing behind it. Keys must be unique: of two, one would count.
func one(data []byte, into any) error {
	if err := unique(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("is a JSON %s, and an object is wanted", wrong.Value)
		}
		return fmt.Errorf("is not JSON: %w", err)
	}
	return nil
}

// unique checks that data is one JSON value whose outermost object has no key twice.
func unique(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	first, err := dec.Token()
	if err != nil {
		return fmt.Errorf("is not JSON: %w", err)
	}
	if first == json.Delim('{') {
		seen := map[string]bool{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return fmt.Errorf("is not JSON: %w", err)
			}
			if text, ok := name.(string); ok {
				if seen[text] {
					return fmt.Errorf("has the key %q twice", cut(text))
				}
				seen[text] = true
			}
			var skip json.RawMessage
			if err := dec.Decode(&skip); err != nil {
				return fmt.Errorf("is not JSON: %w", err)
			}
		}
		if _, err := dec.Token(); err != nil {
			return fmt.Errorf("is not JSON: %w", err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return errors.New("has something behind its end")
		}
	}
	return nil
}

// backend reads the entry of one backend.
func (d *document) backend(f *Feed, name string, raw json.RawMessage, now time.Time) {
	path := "backends." + cut(name)
	if !slices.Contains(f.Backends, name) {
		d.refuse(path, refusedBackend, "feed %s may not speak of it: it is none of %s", f.Name,
			strings.Join(f.Backends, ", "))
		return
	}
	fields, at, refusal := fieldsOf(path, raw, f.Keep, now)
	if refusal != nil {
		d.refused = append(d.refused, *refusal)
		return
	}
	entry := document{said: map[key]said{}}
	for _, field := range sorted(fields) {
		entry.field(f, key{Backend: name, Field: steering.Field(field)}, path+"."+cut(field),
			fields[field], at, now)
	}
	if len(entry.refused) > 0 {
		d.refused = append(d.refused, entry.refused...)
		return
	}
	maps.Copy(d.said, entry.said)
}

// fieldsOf reads an object and takes its time out.
func fieldsOf(path string, raw json.RawMessage, keep time.Duration, now time.Time) (
	fields map[string]json.RawMessage, at time.Time, refusal *Refusal,
) {
	if err := one(raw, &fields); err != nil || fields == nil {
		return nil, at, &Refusal{path, refusedValue, "must be an object"}
	}
	given, ok := fields["at"]
	if !ok {
		return fields, now, nil
	}
	delete(fields, "at")
	var text string
	err := json.Unmarshal(given, &text)
	if err == nil {
		at, err = time.Parse(time.RFC3339, text)
	}
	at = at.UTC()
	switch path += ".at"; {
	case err != nil:
		return nil, at, &Refusal{path, refusedTime, "must be a time such as 2026-01-31T12:00:00Z"}
	case at.Sub(now) > skew:
		return nil, at, &Refusal{path, refusedTime, fmt.Sprintf("%s is %s ahead of this node's clock",
			text, at.Sub(now).Round(time.Second))}
	case now.Sub(at) >= keep:
		return nil, at, &Refusal{path, refusedTime, fmt.Sprintf(
			"%s is %s ago, and the feed keeps values for %s", text, now.Sub(at).Round(time.Second), keep)}
	}
	if at.After(now) {
		at = now
	}
	return fields, at, nil
}

// field reads one field of a backend's entry.
func (d *document) field(f *Feed, k key, path string, raw json.RawMessage, at, now time.Time) {
	switch {
	case k.Field == "hosts":
		d.hosts(f, k.Backend, path, raw, at, now)
		return
	case !slices.Contains(Fields(), k.Field):
		d.refuse(path, refusedField, "there is no such field: there are %s, hosts and at",
			names(Fields()))
		return
	case !slices.Contains(f.Fields, k.Field):
		d.refuse(path, refusedField, "feed %s may not give it: its fields are %s", f.Name,
			names(f.Fields))
		return
	}
	if string(raw) == "null" {
		d.said[k] = said{at: at, withdrawn: true}
		return
	}
	value, why := parse(k.Field, raw)
	if why != "" {
		d.refuse(path, refusedValue, "%s", why)
		return
	}
	d.said[k] = said{value: value, at: at}
}

// hosts reads the loads of single steered names.
func (d *document) hosts(
	f *Feed, backend, path string, raw json.RawMessage, at, now time.Time,
) {
	var hosts map[string]json.RawMessage
	if err := one(raw, &hosts); err != nil || hosts == nil {
		d.refuse(path, refusedValue, "must be an object with steered names")
		return
	}
	for _, name := range sorted(hosts) {
		path := path + "." + cut(name)
		host := strings.ToLower(strings.TrimSuffix(name, "."))
		if !slices.Contains(f.Hosts, host) {
			d.refuse(path, refusedHost, "is not steered")
			continue
		}
		fields, when, refusal := fieldsOf(path, hosts[name], f.Keep, now)
		if refusal != nil {
			d.refused = append(d.refused, *refusal)
			continue
		}
		if when == now {
			when = at
		}
		for _, field := range sorted(fields) {
			if steering.Field(field) != FieldLoad {
				d.refuse(path+"."+cut(field), refusedField, "a host has its load alone, and at")
				continue
			}
			d.field(f, key{backend, FieldLoad, host}, path+".load", fields[field], when, now)
		}
	}
}

// parse reads the value of a field, or says what is wrong with it.
func parse(field steering.Field, raw json.RawMessage) (value uint64, why string) {
	text := string(raw)
	switch field {
	case steering.FieldUp, steering.FieldDrain:
		switch text {
		case "true":
			return 1, ""
		case "false":
			return 0, ""
		}
		return 0, "must be true or false, not " + cut(text)
	case steering.FieldWeight:
		return whole(text, 0, steering.MostWeight, "percent of the configured weights")
	case steering.FieldCapacity:
		return whole(text, 1, steering.MostRate, "requests a second; to give a backend none, drain it")
	case steering.FieldCost:
		return decimal(text, 1_000_000, 1_000_000)
	}
	return decimal(text, steering.MostRate, thousandths)
}

func whole(text string, least, most uint64, of string) (uint64, string) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n >= least && n <= most {
		return n, ""
	}
	return 0, fmt.Sprintf("must be a whole number from %d to %d, of %s, not %s", least, most, of,
		cut(text))
}

// decimal reads a number of whatever form JSON has, and counts it in parts.
func decimal(text string, most, parts float64) (uint64, string) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > most || text[0] == '"' {
		return 0, fmt.Sprintf("must be a number from 0 to %.0f, not %s", most, cut(text))
	}
	return scaled(n, parts), ""
}

// cut bounds what of a document is shown, and keeps its shape out of logs.
func cut(s string) string {
	const most = 60
	s = strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func names(fields []steering.Field) string {
	text := make([]string, len(fields))
	for i, f := range fields {
		text[i] = string(f)
	}
	return strings.Join(text, ", ")
}

func sorted[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), cmp.Compare[string])
}
