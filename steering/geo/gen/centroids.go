package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// city is a settlement as the source lists it.
type city struct {
	Lat     string `json:"lat"`
	Lon     string `json:"lng"`
	Country string `json:"country"`
	Admin1  string `json:"admin1"`
}

// vector is a point on the unit sphere, or a sum of such.
type vector struct{ x, y, z float64 }

// subdivision returns the ISO 3166-2 code of a settlement, for countries whose numbers in the
// source are letters of that standard or stand here.
func (c city) subdivision() string {
	switch c.Country {
	case "US":
		return "US-" + c.Admin1
	case "CA":
		return lookup("CA-", c.Admin1, map[string]string{"01": "AB", "02": "BC", "03": "MB",
			"04": "NB", "05": "NL", "07": "NS", "08": "ON", "09": "PE", "10": "QC", "11": "SK",
			"12": "YT", "13": "NT", "14": "NU"})
	case "AU":
		return lookup("AU-", c.Admin1, map[string]string{"01": "ACT", "02": "NSW", "03": "NT",
			"04": "QLD", "05": "SA", "06": "TAS", "07": "VIC", "08": "WA"})
	}
	return ""
}

func lookup(country, number string, codes map[string]string) string {
	if code := codes[number]; code != "" {
		return country + code
	}
	return ""
}

// centres writes the mean place of the settlements of each country, and of the subdivisions that
// it knows, in hundredths of a degree, and says how far settlements are from it.
func centres(cities, out string, w io.Writer) error {
	raw, err := os.ReadFile(cities)
	if err != nil {
		return fmt.Errorf("reading the settlements: %w", err)
	}
	var list []city
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("reading the settlements: %w", err)
	}
	sums, all := map[string]vector{}, map[string][]vector{}
	for _, c := range list {
		lat, err1 := strconv.ParseFloat(c.Lat, 64)
		lon, err2 := strconv.ParseFloat(c.Lon, 64)
		if err1 != nil || err2 != nil || len(c.Country) != 2 {
			return fmt.Errorf("settlement %+v is not understood", c)
		}
		v := on(lat, lon)
		for _, code := range []string{c.Country, c.subdivision()} {
			if code != "" {
				s := sums[code]
				sums[code] = vector{s.x + v.x, s.y + v.y, s.z + v.z}
				all[code] = append(all[code], v)
			}
		}
	}
	var text strings.Builder
	text.WriteString("# Means of the settlements of countries and subdivisions, in 1/100 degrees: " +
		"see data/LICENSE.\n")
	for _, code := range slices.Sorted(maps.Keys(sums)) {
		s := sums[code]
		lat := math.Atan2(s.z, math.Hypot(s.x, s.y)) * 180 / math.Pi
		lon := math.Atan2(s.y, s.x) * 180 / math.Pi
		fmt.Fprintf(&text, "%s\t%d\t%d\n", code, int(math.Round(lat*100)), int(math.Round(lon*100)))
		if off := distances(on(lat, lon), all[code]); len(code) == 2 {
			fmt.Fprintf(w, "%s: half of %d settlements within %.0f km, nine of ten within %.0f km\n",
				code, len(off), off[len(off)/2], off[len(off)*9/10])
		}
	}
	if err := os.WriteFile(out, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("writing the centres: %w", err)
	}
	return nil
}

func on(lat, lon float64) vector {
	lat, lon = lat*math.Pi/180, lon*math.Pi/180
	return vector{math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)}
}

// distances returns those of points from a centre, in km and in order.
func distances(centre vector, points []vector) []float64 {
	list := make([]float64, len(points))
	for i, p := range points {
		cos := centre.x*p.x + centre.y*p.y + centre.z*p.z
		list[i] = 6371 * math.Acos(min(1, max(-1, cos)))
	}
	slices.Sort(list)
	return list
}
