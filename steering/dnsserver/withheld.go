package dnsserver

import "time"

// withheldEvery is how long a zone answers SERVFAIL before that is logged again.
const withheldEvery = 10 * time.Minute

// Withheld is a zone that is answered with SERVFAIL.
type Withheld struct {
	Zone   string // canonical
	Reason string
}

func (st *state) withhold(zone string, why error) {
	if st.withheld == nil {
		st.withheld = make(map[string]error)
	}
	st.withheld[zone] = why
}

// Withheld returns the zones that are answered with SERVFAIL, since they should be signed and
// there are no signatures: by name, with the reason. It is safe for concurrent use.
func (s *Server) Withheld() []Withheld {
	var out []Withheld
	withheld := s.current.Load().withheld
	for _, zone := range sortedKeys(withheld) {
		out = append(out, Withheld{zone, withheld[zone].Error()})
	}
	return out
}

// tellWithheld logs which zones are withheld: at once when that is new, then every ten minutes;
// and which no longer are. The caller holds s.signing, or is New.
func (s *Server) tellWithheld(now time.Time) {
	next := make(map[string]time.Time)
	for _, w := range s.Withheld() {
		last, known := s.withholding[w.Zone]
		if !known || now.Sub(last) >= withheldEvery {
			s.log.Error("zone answers SERVFAIL", "zone", w.Zone, "reason", w.Reason)
			last = now
		}
		next[w.Zone] = last
	}
	for zone := range s.withholding {
		if _, still := next[zone]; !still {
			s.log.Info("zone no longer answers SERVFAIL", "zone", zone)
		}
	}
	s.withholding = next
}
