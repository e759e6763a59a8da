package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Price is an amount of money in millionths, written as a number such as 0.02. Whole numbers
// add and compare alike on every machine.
type Price int64

// Ratio is a number that is no money, written and kept as prices are.
type Ratio = Price

// Float returns the number as it was written.
func (p Price) Float() float64 { return float64(p) / million }

const (
	million      = 1_000_000
	priceDigits  = 6                 // behind the point
	largestPrice = 1_000_000_000_000 // in whole units; far below the range of int64
)

// ParsePrice reads a number with at most six decimals. It refuses signs, exponents, and what is
// above 10^12.
func ParsePrice(s string) (Price, error) {
	whole, fraction, point := strings.Cut(s, ".")
	units, err := strconv.ParseUint(whole, 10, 63)
	switch {
	case err != nil || point && fraction == "":
		return 0, fmt.Errorf("%q is not a number such as 0.02", s)
	case units > largestPrice:
		return 0, fmt.Errorf("%q is too much", s)
	case len(fraction) > priceDigits:
		return 0, fmt.Errorf("%q has more than %d decimals", s, priceDigits)
	}
	millionths := fraction + strings.Repeat("0", priceDigits-len(fraction))
	parts, err := strconv.ParseUint(millionths, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number such as 0.02", s)
	}
	return Price(units*million + parts), nil
}

func parsePrice(raw string) (Price, *complaint) {
	p, err := ParsePrice(raw)
	if err != nil {
		return 0, complain("%s", err)
	}
	return p, nil
}

// String renders the price without zeros at its end.
func (p Price) String() string {
	text := fmt.Sprintf("%d.%06d", p/million, p%million)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
