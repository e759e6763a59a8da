// Package feed holds what APIs say of backends: their metadata and their measured load. Documents
// flow in, pulled by HTTP or pushed through Push; the values that hold flow out through OnChange,
// Values and Loads, from memory. What a document means, what becomes of a value as others and time
// pass (see Held), and what holds at a moment are pure functions, so nodes with equal records agree.
//
// Every record stands in this node's own store; those of pushed feeds stand in the shared one too,
// by which nodes learn of each other's. Run owns all goroutines: one for each feed that is pulled.
package feed

import (
	"crypto/x509"
	"slices"
	"time"

	"pointsman/internal/secret"
	"pointsman/steering"
)

// FieldLoad is measured requests a second. It is no metadata: no table is compiled from it.
const FieldLoad steering.Field = "load"

// Fields are all that a document may give of a backend.
func Fields() []steering.Field {
	return []steering.Field{steering.FieldUp, steering.FieldDrain, steering.FieldWeight,
		steering.FieldCapacity, steering.FieldCost, FieldLoad}
}

// Feed is one source of metadata. It is immutable.
type Feed struct {
	Name string
	// URL is what is pulled; empty: the feed is pushed.
	URL     string
	Token   secret.String  // bearer token; zero: none
	RootCAs *x509.CertPool // that the URL's certificate is verified by; nil: the system's
	// Interval is how often it is pulled, Timeout how long one pull may take.
	Interval, Timeout time.Duration
	// Keep is how long a value holds after it was said last.
	Keep time.Duration
	// Hold is the least time between two changes of one field of a backend that come into force.
	Hold time.Duration
	// DeadBand is how far, in percent of the value in force, another weight, capacity or cost must
	// be from it to take its place.
	DeadBand uint32
	// Backends and Fields are what the feed may speak of.
	Backends []string
	Fields   []steering.Field
	// Hosts are the steered names (without a final dot) whose load it may give.
	Hosts []string
}

func (f *Feed) pulled() bool { return f.URL != "" }

func (f *Feed) allows(backend string, field steering.Field) bool {
	return slices.Contains(f.Backends, backend) && slices.Contains(f.Fields, field)
}
