// Package geotest writes small MMDB files, so that tests need no vendor's data. A list of networks
// with what is known of them flows in, the bytes of a file flow out. It owns no goroutine.
package geotest

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Row is a network with what a file says of it; what is empty isn't in the file.
type Row struct {
	Prefix      string
	Country     string      // in country.iso_code
	Subdivision string      // in subdivisions[0].iso_code, without the country
	ASN         uint32      // in autonomous_system_number
	Place       *[2]float64 // latitude and longitude, in location
	// Flat has country and place at the top instead, as some vendors do.
	Flat bool
	// Odd has a country of another type.
	Odd bool
}

// Write returns a file that was built on a day.
func Write(kind string, day time.Time, rows ...Row) ([]byte, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, BuildEpoch: day.Unix(),
		IncludeReservedNetworks: true, RecordSize: 24})
	if err != nil {
		return nil, fmt.Errorf("making an MMDB: %w", err)
	}
	for _, r := range rows {
		_, network, err := net.ParseCIDR(r.Prefix)
		if err != nil {
			return nil, fmt.Errorf("making an MMDB: %w", err)
		}
		if err := tree.Insert(network, r.record()); err != nil {
			return nil, fmt.Errorf("making an MMDB: %w", err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("making an MMDB: %w", err)
	}
	return b.Bytes(), nil
}

func (r Row) record() mmdbtype.Map {
	m := mmdbtype.Map{}
	switch {
	case r.Odd:
		m["country"] = mmdbtype.Uint32(7)
	case r.Country != "" && r.Flat:
		m["country_code"] = mmdbtype.String(r.Country)
	case r.Country != "":
		m["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(r.Country)}
	}
	if r.Subdivision != "" {
		m["subdivisions"] = mmdbtype.Slice{
			mmdbtype.Map{"iso_code": mmdbtype.String(r.Subdivision)}}
	}
	if r.ASN != 0 {
		m["autonomous_system_number"] = mmdbtype.Uint32(r.ASN)
	}
	if r.Place != nil {
		at := mmdbtype.Map{"latitude": mmdbtype.Float64(r.Place[0]),
			"longitude": mmdbtype.Float64(r.Place[1])}
		if r.Flat {
			m["latitude"], m["longitude"] = at["latitude"], at["longitude"]
		} else {
			m["location"] = at
		}
	}
	return m
}
