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

// Builtin unpacks the country table that is built in. That takes some 20 ms and 4 MB, so it is
// for those who need it, once.
func Builtin() (*Locator, error) {
	raw, err := gunzip([]byte(packed), maxUnpacked)
	if err != nil {
		return nil, fmt.Errorf("unpacking the built-in country data: %w", err)
	}
	l, err := unpack(raw)
	if err != nil {
		return nil, fmt.Errorf("unpacking the built-in country data: %w", err)
	}
	return l, nil
}
