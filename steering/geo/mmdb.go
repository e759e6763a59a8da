package geo

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// mmdbMark begins the metadata of an MMDB file.
const mmdbMark = "\xab\xcd\xefMaxMind.com"

// facts are what a record of an MMDB says, as values of the layers.
type facts struct {
	country     uint8
	subdivision uint32
	asn         uint32
	point       uint32
}

// mmdbReader gathers the layers of an MMDB file, whose networks come in order.
type mmdbReader struct {
	l            *Locator
	countries    names
	subdivisions names
	points       map[Point]uint32
	byOffset     map[uintptr]facts // many networks share a record
}

// readMMDB reads a file in MaxMind's DB format 2.0: of MaxMind (GeoLite2 or GeoIP2 Country, City,
// ASN, ISP), DB-IP, or others who name fields alike. Of each record it takes
//
//   - country.iso_code or country_code,
//   - subdivisions[0].iso_code, with the country before it: the largest subdivision,
//   - autonomous_system_number, or asn as in AS64496,
//   - location.latitude and .longitude, or latitude and longitude, rounded to half a degree.
//
// What isn't there, or is of another type, is not known. Networks finer than an IPv6 /64 don't
// count. IANA's special-purpose prefixes are taken as the file has them. The data is as old as the
// file says. A damaged file is an error, and so is one that knows nothing of this.
func readMMDB(raw []byte, origin string) (l *Locator, err error) {
	db, err := maxminddb.OpenBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("reading MMDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	m := mmdbReader{l: newLocator(), points: map[Point]uint32{}, byOffset: map[uintptr]facts{}}
	for r := range db.Networks() {
		f, err := m.record(r)
		if err != nil {
			return nil, fmt.Errorf("reading MMDB: %w", err)
		}
		m.add(r.Prefix(), f)
	}
	l = m.l
	l.dated = true
	if !l.country.known() && !l.subdivision.known() && !l.asn.known() && !l.point.known() {
		return nil, errors.New("reading MMDB: it has no countries, subdivisions, ASNs or places")
	}
	a := about{origin: fmt.Sprintf("%s, %s", origin, db.Metadata.DatabaseType),
		date: db.Metadata.BuildTime().UTC()}
	l.country.about, l.subdivision.about, l.asn.about, l.point.about = a, a, a, a
	if m.countries.list != nil {
		l.countries = m.countries.list
	}
	if m.subdivisions.list != nil {
		l.subdivisions = m.subdivisions.list
	}
	finish(&l.country)
	finish(&l.subdivision)
	finish(&l.asn)
	finish(&l.point)
	l.numberASNs()
	return l.settle(), nil
}

func finish[V value](l *layer[V]) {
	l.v4.finish()
	l.v6.finish()
}

// add appends a network to all layers. What lies before it and belongs to none is not known.
func (m *mmdbReader) add(p netip.Prefix, f facts) {
	put(&m.l.country, p, f.country)
	put(&m.l.subdivision, p, f.subdivision)
	put(&m.l.asn, p, f.asn)
	put(&m.l.point, p, f.point)
}

// put appends a prefix, which lies behind all that were appended before.
func put[V value](l *layer[V], p netip.Prefix, v V) {
	switch {
	case v == 0:
	case p.Addr().Is4():
		s := span4(p, v)
		l.v4.add(s.first, v)
		if s.last != ^uint32(0) {
			l.v4.add(s.last+1, 0)
		}
	case p.Bits() <= 64:
		s := span6(p, v)
		l.v6.add(s.first, v)
		if s.last != ^uint64(0) {
			l.v6.add(s.last+1, 0)
		}
	}
}

// record returns what the record of a network says.
func (m *mmdbReader) record(r maxminddb.Result) (facts, error) {
	if err := r.Err(); err != nil {
		return facts{}, err
	}
	if f, known := m.byOffset[r.Offset()]; known {
		return f, nil
	}
	var f facts
	d := decoder{result: r}
	country := strings.ToUpper(cmp.Or(d.text("country", "iso_code"), d.text("country_code")))
	if IsCode(country) {
		n := m.countries.number(country)
		if n > 255 {
			return f, errors.New("more than 255 countries")
		}
		f.country = uint8(n)
		full := country + "-" + strings.ToUpper(d.text("subdivisions", 0, "iso_code"))
		if IsSubdivision(full) {
			f.subdivision = m.subdivisions.number(full)
		}
	}
	f.asn = d.number("autonomous_system_number")
	if f.asn == 0 {
		n, _ := strconv.ParseUint(strings.TrimPrefix(d.text("asn"), "AS"), 10, 32)
		f.asn = uint32(n)
	}
	if p, ok := d.point(); ok {
		n, known := m.points[p]
		if !known {
			n = uint32(len(m.l.points))
			m.points[p] = n
			m.l.points = append(m.l.points, p)
		}
		f.point = n
	}
	m.byOffset[r.Offset()] = f
	return f, d.err
}

// decoder reads fields of a record. What isn't there or is of another type is the zero value;
// damage sticks.
type decoder struct {
	result maxminddb.Result
	err    error
}

func (d *decoder) into(v any, path ...any) {
	err := d.result.DecodePath(v, path...)
	var damage maxminddb.InvalidDatabaseError
	if errors.As(err, &damage) && d.err == nil {
		d.err = err
	}
}

func (d *decoder) text(path ...any) (s string) {
	d.into(&s, path...)
	return s
}

func (d *decoder) number(path ...any) (n uint32) {
	d.into(&n, path...)
	return n
}

// point is where the network is; false when the record doesn't say.
func (d *decoder) point() (Point, bool) {
	var lat, lon *float64
	d.into(&lat, "location", "latitude")
	d.into(&lon, "location", "longitude")
	if lat == nil || lon == nil {
		d.into(&lat, "latitude")
		d.into(&lon, "longitude")
	}
	if lat == nil || lon == nil {
		return Point{}, false
	}
	return grid(*lat, *lon)
}
