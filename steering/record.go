package steering

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"pointsman/probes/health"
	"pointsman/steering/control"
	"pointsman/steering/geo"
)

// recordFormat is the format of records. One of another format is refused.
const recordFormat = 3

// record is Inputs as a file keeps them.
type record struct {
	Format    int            `json:"format"`
	Version   uint64         `json:"version"`
	Now       time.Time      `json:"now"`
	Spec      *Spec          `json:"spec"`
	View      *health.View   `json:"view"`
	Shares    control.Shares `json:"shares"`
	Overrides []Override     `json:"overrides"`
	// Guidance is left out when there never was any.
	Guidance  *control.Guidance `json:"guidance,omitempty"`
	Fed       []FedValue        `json:"fed,omitempty"`
	Addresses Addresses         `json:"addresses,omitempty"`
	Countries *CountryData      `json:"countries,omitempty"`
	// Latencies are in nanoseconds.
	Latencies map[string]time.Duration `json:"latencies,omitempty"`
}

// CountryData names the country data that a record was compiled with. The data itself is too
// large to stand in each record; it is known by its digest.
type CountryData struct {
	Digest string    `json:"sha256"` // of geo.Locator.Digest, in hex
	Origin string    `json:"origin"`
	Date   time.Time `json:"date,omitzero"`
}

// ErrCountries says that a record wants country data that is not at hand.
var ErrCountries = errors.New("the record was made with other country data")

// Inputs returns what the table was compiled from. What it refers to belongs to the table: read
// only.
func (t *Table) Inputs() Inputs { return t.compiler.in }

// Countries names a Locator for records; nil for a nil one. It reads the whole of it.
func Countries(l *geo.Locator) *CountryData {
	if l == nil {
		return nil
	}
	sum := l.Digest()
	return &CountryData{Digest: hex.EncodeToString(sum[:]), Origin: l.Origin(), Date: l.Date()}
}

// EncodeInputs writes inputs as JSON, from which DecodeInputs makes inputs that compile to a
// table of the same Hash. Countries names in.Countries; see CountryData. Prior is left out: it
// changes no table. An error says that a number among the shares has no JSON form.
func EncodeInputs(in Inputs, countries *CountryData) ([]byte, error) {
	r := record{Format: recordFormat, Version: in.Version, Now: in.Now,
		Spec: in.Spec, View: in.View, Shares: in.Shares, Overrides: in.Overrides, Fed: in.Fed,
		Countries: countries, Latencies: in.Latencies, Addresses: in.Addresses}
	if g := in.Guidance; !g.Zero() || g.Epoch > 0 || g.Seq > 0 {
		r.Guidance = &g
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the inputs of table %d: %w", in.Version, err)
	}
	return append(b, '\n'), nil
}

// DecodeInputs reads what EncodeInputs wrote. It is strict: nothing may be there that it doesn't
// know. Countries are the country data to compile with; when they are not those of the record
// the error is an ErrCountries that names those, and the inputs are returned all the same: they
// hold for hosts whose places list no countries.
func DecodeInputs(data []byte, countries *geo.Locator) (Inputs, error) {
	var r record
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Inputs{}, fmt.Errorf("reading the inputs of a table: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Inputs{}, errors.New("reading the inputs of a table: something follows them")
	}
	if r.Format != recordFormat {
		return Inputs{}, fmt.Errorf("reading the inputs of a table: format %d is not %d",
			r.Format, recordFormat)
	}
	if r.Spec == nil {
		return Inputs{}, errors.New("reading the inputs of a table: they have no spec")
	}
	in := Inputs{Version: r.Version, Now: r.Now, Spec: r.Spec, View: r.View, Shares: r.Shares,
		Overrides: r.Overrides, Countries: countries, Latencies: r.Latencies,
		Addresses: r.Addresses, Fed: r.Fed}
	if r.Guidance != nil {
		in.Guidance = *r.Guidance
	}
	switch have := Countries(countries); {
	case r.Countries == nil && have == nil:
	case r.Countries == nil:
		return in, fmt.Errorf("%w: none", ErrCountries)
	case have == nil || have.Digest != r.Countries.Digest:
		return in, fmt.Errorf("%w: %s, SHA-256 %s", ErrCountries, r.Countries.Origin,
			r.Countries.Digest)
	}
	return in, nil
}
