package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size in bytes, written with a unit: 512KiB, 256MiB, 2GiB, 1TiB, or the decimal
// kB, MB, GB, TB.
type Bytes int64

// byteUnits is in the order in which a suffix is looked for: longer ones first.
func byteUnits() []struct {
	suffix string
	size   int64
} {
	return []struct {
		suffix string
		size   int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
}

// ParseBytes reads a whole number with a unit. It refuses a bare number, a sign, a fraction
// and anything above the range of int64.
func ParseBytes(s string) (Bytes, error) {
	for _, u := range byteUnits() {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n > uint64(math.MaxInt64/u.size) {
			return 0, fmt.Errorf("%q is not a size such as 256MiB", s)
		}
		return Bytes(int64(n) * u.size), nil
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		return 0, fmt.Errorf("a size needs a unit: say %dB, or 256MiB", n)
	}
	return 0, fmt.Errorf("%q is not a size such as 256MiB", s)
}

// String renders the size in the largest binary unit that divides it.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		u := byteUnits()[i]
		if int64(b) >= u.size && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
