// Package secret holds a credential that no log, error, JSON or format verb can show. Values
// flow in from a file or the environment and out through Reveal alone, at the one place that
// signs or sends them. It owns no goroutine.
package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what every rendering of a String gives.
const Redacted = "[redacted]"

// String is a credential. The zero value is the empty credential. It is safe to copy and to
// use concurrently. It holds a pointer because package fmt looks past the methods of unexported
// fields: a struct that keeps a String to itself would print a plain string, but of a pointer
// it prints the address.
type String struct{ value *string }

// New wraps a credential.
func New(value string) String { return String{&value} }

// Reveal returns the credential itself: call it only where it goes on the wire.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether no credential was given.
func (s String) IsZero() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (String) String() string { return Redacted }

// GoString implements fmt.GoStringer, for %#v.
func (String) GoString() string { return Redacted }

// Format implements fmt.Formatter, so that every verb (%x and %q too) redacts.
func (String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue implements slog.LogValuer.
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements encoding.TextMarshaler: JSON, YAML and XML all redact.
func (String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
