package override

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pointsman/internal/store"
	"pointsman/steering"
)

const (
	keyPrefix = "overrides/"
	// MaxLife is the longest an override may hold: none is forgotten for good.
	MaxLife   = 30 * 24 * time.Hour
	maxWeight = 1_000_000
	maxText   = 1000 // octets of a reason
	maxName   = 254  // octets of any name
)

// record is an override as a store holds it. It is written once, and once more with Removed.
type record struct {
	steering.Override
	Node    string    `json:"node"`             // that wrote it
	Removed time.Time `json:"removed,omitzero"` // a tombstone since then
	Shared  bool      `json:"shared"`           // the shared store has held it
}

// holds reports whether the override is in force.
func (r record) holds(now time.Time) bool { return r.Removed.IsZero() && r.Active(now) }

// forgotten reports whether no copy of the record can matter any more.
func (r record) forgotten(now time.Time) bool { return now.After(r.Expires.Add(retention)) }

// life is how long a store must keep the record.
func (r record) life(now time.Time) time.Duration {
	return max(r.Expires.Add(retention).Sub(now), time.Second)
}

func (r record) key() string { return keyPrefix + r.ID }

func (r record) encode() ([]byte, error) {
	r.Local, r.Unsaved = false, false // they are about the stores, not the override
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding override %q: %w", r.ID, err)
	}
	return data, nil
}

// decode reads a record and distrusts it: another program may have written it.
func decode(e store.Entry) (record, error) {
	var r record
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return record{}, fmt.Errorf("decoding %q: %w", e.Key, err)
	}
	switch {
	case r.ID == "" || r.key() != e.Key:
		return record{}, fmt.Errorf("decoding %q: the record's ID is %q", e.Key, r.ID)
	case r.Expires.IsZero():
		return record{}, fmt.Errorf("decoding %q: the record has no end", e.Key)
	case r.Backend == "" || r.Kind == "":
		return record{}, fmt.Errorf("decoding %q: the record has no kind or backend", e.Key)
	}
	r.Local, r.Unsaved = false, false
	return r, nil
}

// normalize checks what a caller asks for and brings its names into canonical form. The
// error names every mistake.
func normalize(o steering.Override, now time.Time) (steering.Override, error) {
	var errs []error
	addf := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	o.Reason = strings.TrimSpace(o.Reason)
	if o.Host != "" {
		o.Host = strings.ToLower(strings.TrimSuffix(o.Host, ".")) + "."
	}
	o.Expires = o.Expires.UTC().Round(0)

	switch o.Kind {
	case steering.Weight:
		if o.Weight > maxWeight {
			addf("weight %d is above %d", o.Weight, maxWeight)
		}
	case steering.Drain, steering.Pin, steering.Fence:
		if o.Weight != 0 {
			addf("weight goes with kind %q alone", steering.Weight)
		}
	default:
		addf("unknown kind %q, want drain, pin, weight or fence", o.Kind)
	}
	for _, field := range []struct {
		name, value string
		needed      bool
		limit       int
	}{
		{"backend", o.Backend, true, maxName},
		{"host", o.Host, false, maxName},
		{"reason", o.Reason, true, maxText},
		{"actor", o.Actor, false, maxName},
	} {
		if err := checkText(field.value, field.needed, field.limit); err != nil {
			addf("%s %w", field.name, err)
		}
	}
	switch {
	case o.Expires.IsZero():
		addf("an end is required")
	case !o.Expires.After(now):
		addf("its end %s has passed", o.Expires.Format(time.RFC3339))
	case o.Expires.Sub(now) > MaxLife:
		addf("its end is %s away, at most %s is allowed",
			o.Expires.Sub(now).Round(time.Minute), MaxLife)
	}
	if len(errs) > 0 {
		return o, fmt.Errorf("%w: %w", ErrInvalid, errors.Join(errs...))
	}
	return o, nil
}

// checkText keeps out what would break a log line or a terminal.
func checkText(s string, needed bool, limit int) error {
	switch {
	case s == "" && needed:
		return errors.New("is required")
	case len(s) > limit:
		return fmt.Errorf("is longer than %d octets", limit)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r)
	}):
		return errors.New("holds characters that don't print")
	}
	return nil
}
