package whatif

// flow is some queries that one backend answered and another one would.
type flow struct {
	old, new string // empty: the host is not steered there
	weight   float64
}

// sums are the queries of a group, by backend.
type sums struct {
	weight, moved float64
	backends      map[string]*[2]float64 // before and after
}

func newSums() *sums { return &sums{backends: make(map[string]*[2]float64)} }

func (s *sums) add(f flow) {
	s.weight += f.weight
	if f.old != f.new {
		s.moved += f.weight
	}
	for i, name := range []string{f.old, f.new} {
		if name == "" {
			continue
		}
		b := s.backends[name]
		if b == nil {
			b = new([2]float64)
			s.backends[name] = b
		}
		b[i] += f.weight
	}
}

// host is what is known of one host.
type host struct {
	in                [2]bool // steered before, and after
	all               *sums
	countries, places map[string]*sums
}

func newHost() *host {
	return &host{all: newSums(), countries: make(map[string]*sums), places: make(map[string]*sums)}
}

func (h *host) add(country, place string, f flow) {
	h.all.add(f)
	of(h.countries, country).add(f)
	of(h.places, place).add(f)
}

func of(groups map[string]*sums, name string) *sums {
	s := groups[name]
	if s == nil {
		s = newSums()
		groups[name] = s
	}
	return s
}

// peak is one moment's queries by host.
type peak map[string]*sums

func (p peak) add(host string, f flow) { of(p, host).add(f) }
