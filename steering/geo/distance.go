package geo

import "sort"

// Earth's mean radius is 6,371 km; two places are at most farthest apart.
const (
	diameter = 12_742
	farthest = 20_015
)

// Ruler measures distances. It counts in whole numbers, because every machine must come to the
// same. It is immutable.
type Ruler struct {
	// haversines are those of 0 km, 1 km and so on, in units of 2^-30.
	haversines []int64
}

// NewRuler makes a ruler, which takes about a millisecond.
func NewRuler() *Ruler {
	r := &Ruler{haversines: make([]int64, farthest+1)}
	for km := range r.haversines {
		s := sine((int64(km)<<30 + diameter/2) / diameter)
		r.haversines[km] = s * s >> 30
	}
	return r
}

// Between returns the distance of two places along the earth's surface, in km, right to about a
// kilometre on a sphere, which the earth is to half a percent.
func (r *Ruler) Between(a, b Point) uint32 {
	dLat, dLon := abs(int64(a.Lat)-int64(b.Lat)), abs(int64(a.Lon)-int64(b.Lon))
	dLon = min(dLon, 360*degree-dLon)
	u, v := sine(radians(dLat)/2), sine(radians(dLon)/2)
	cos := cosine(a) * cosine(b) >> 30
	h := u*u>>30 + cos*(v*v>>30)>>30
	far := sort.Search(len(r.haversines), func(i int) bool { return r.haversines[i] >= h })
	if far > 0 && (far == len(r.haversines) || r.haversines[far]-h > h-r.haversines[far-1]) {
		far--
	}
	return uint32(far)
}

func abs(n int64) int64 { return max(n, -n) }

// radians turns millionths of a degree into radians, in units of 2^-30.
func radians(micro int64) int64 {
	const unit = 157205283 // π/180/10^6, in units of 2^-53
	return micro * unit >> 23
}

// cosine is that of a latitude, in units of 2^-30.
func cosine(p Point) int64 { return sine(radians(90*degree - abs(int64(p.Lat)))) }

// sine is that of an angle from 0 to a right one, by its series; all in units of 2^-30.
func sine(x int64) int64 {
	square := x * x >> 30
	sum, term := x, x
	for n := int64(2); n <= 14; n += 2 {
		term = -(term * square >> 30) / (n * (n + 1))
		sum += term
	}
	return min(sum, 1<<30)
}
