package geo

import (
	_ "embed"
	"fmt"
)

// packed is the built-in country table; package gen makes it. Its licence stands beside it, in
// data/LICENSE.
//
//go:embed data/country.geo
var packed string

// packedASN is the built-in table of autonomous systems, made and licensed likewise.
//
//go:embed data/asn.geo
var packedASN string

// Builtin unpacks the country table that is built in. That takes some 20 ms and 4 MB, so it is
// for those who need it, once.
func Builtin() (*Locator, error) { return builtin(packed) }

// BuiltinASN unpacks the table of autonomous systems that is built in, which takes some 50 ms and
// 8 MB.
func BuiltinASN() (*Locator, error) { return builtin(packedASN) }

func builtin(packed string) (*Locator, error) {
	raw, err := gunzip([]byte(packed), maxUnpacked)
	if err != nil {
		return nil, fmt.Errorf("unpacking the built-in geo data: %w", err)
	}
	l, err := unpack(raw)
	if err != nil {
		return nil, fmt.Errorf("unpacking the built-in geo data: %w", err)
	}
	return l, nil
}
