package geo

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// Point is a place on the earth, in millionths of a degree; north and east are positive.
type Point struct{ Lat, Lon int32 }

// degree is one degree of a Point.
const degree = 1_000_000

// Spot is where a client is taken to be for distances.
type Spot struct {
	Point Point
	// Name is the country or subdivision whose centre Point is; empty for a client's own place.
	Name string
	// Known is false when nobody knows where the client is.
	Known bool
	// Rough is true when only the country is known, and it is one of those so large that its
	// centre may be thousands of kilometres away.
	Rough bool
}

//go:embed centroids.txt
var centroids string // a code, a latitude and a longitude on each line, with tabs between them

// Centroid returns the centre of a country (DE), or of a subdivision (US-CA) of the US, Canada
// or Australia: the mean of its settlements. False: it has none here.
func Centroid(code string) (Point, bool) {
	for line := range strings.Lines(centroids) {
		rest, ok := strings.CutPrefix(line, code+"\t")
		if !ok {
			continue
		}
		return parsePoint(rest)
	}
	return Point{}, false
}

// allCentroids is Centroid for many codes.
func allCentroids() map[string]Point {
	all := map[string]Point{}
	for line := range strings.Lines(centroids) {
		code, rest, _ := strings.Cut(line, "\t")
		if p, ok := parsePoint(rest); ok {
			all[code] = p
		}
	}
	return all
}

// parsePoint reads two numbers of hundredths of a degree.
func parsePoint(text string) (Point, bool) {
	lat, lon, ok := strings.Cut(strings.TrimSpace(text), "\t")
	y, err1 := strconv.ParseInt(lat, 10, 32)
	x, err2 := strconv.ParseInt(lon, 10, 32)
	return Point{int32(y * (degree / 100)), int32(x * (degree / 100))},
		ok && err1 == nil && err2 == nil
}

// rough reports whether a country is so large that its centre says little.
func rough(country string) bool {
	switch country {
	case "US", "CA", "BR", "RU", "CN", "AU":
		return true
	}
	return false
}

// settle makes the spots of a Locator: unknown, those of the countries, of the subdivisions, and
// the points.
func (l *Locator) settle() *Locator {
	all := allCentroids()
	l.spots = make([]Spot, 0, len(l.countries)+len(l.subdivisions)+len(l.points))
	for _, code := range l.countries {
		p, ok := all[code]
		l.spots = append(l.spots, Spot{Point: p, Name: code, Known: ok, Rough: ok && rough(code)})
	}
	for _, code := range l.subdivisions {
		p, ok := all[code]
		l.spots = append(l.spots, Spot{Point: p, Name: code, Known: ok})
	}
	for i, p := range l.points {
		l.spots = append(l.spots, Spot{Point: p, Known: i > 0})
	}
	return l
}

// Spots lists everywhere that a client can be, by numbers that hold for this Locator. The first
// is where nobody knows. The slice belongs to the Locator: read only.
func (l *Locator) Spots() []Spot {
	if l == nil {
		return []Spot{{}}
	}
	return l.spots
}

// spot returns the number of the finest spot that is known.
func (l *Locator) spot(country uint8, subdivision, point uint32) uint32 {
	if point != 0 {
		return uint32(len(l.countries)+len(l.subdivisions)) + point
	}
	if at := uint32(len(l.countries)) + subdivision; l.spots[at].Known {
		return at
	}
	if l.spots[country].Known {
		return uint32(country)
	}
	return 0
}

// grid rounds a place to half a degree, which is as fine as city data is true: no client moves by
// more than 40 km, and neighbours become one range.
func grid(lat, lon float64) (Point, bool) {
	if !(lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180) || lat == 0 && lon == 0 {
		return Point{}, false
	}
	return Point{half(lat), half(lon)}, true
}

// half rounds to half degrees. Both products are exact, so machines round alike.
func half(x float64) int32 {
	n := int32((x + 180) * 2) // 180 added: rounding down is rounding to 0
	if (x+180)*2-float64(n) >= 0.5 {
		n++
	}
	return n*(degree/2) - 180*degree
}

// String renders a place in degrees, as in 50.1, 8.7.
func (p Point) String() string {
	return fmt.Sprintf("%.2f, %.2f", float64(p.Lat)/degree, float64(p.Lon)/degree)
}
