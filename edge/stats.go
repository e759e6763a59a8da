package edge

import (
	"maps"
	"sync"
)

// Stats is a snapshot of what the server has done since it was made.
type Stats struct {
	Sites   map[string]SiteStats // by each site's first host
	Objects int                  // stored
	Bytes   int64                // that the stored objects are accounted for
	Limit   int64                // of Bytes
	Evicted uint64               // objects that made room for others
	// InFlight are the bytes booked for bodies on their way, of Config.InFlight; Unbuffered
	// counts the fetches that got too little of it and were not stored.
	InFlight   int64
	Unbuffered uint64
}

// SiteStats are the counters of one site.
type SiteStats struct {
	// Requests is the sum of all results; requests for the edge's own health are not counted.
	Requests uint64
	// Hits were answered from the cache, fresh; Stale from it, stale; Revalidated from it after
	// the origin had confirmed it; Misses by a fetch; Passes went to the origin as they were;
	// Errors were refused, or the origin failed; Gone had no client left to answer.
	Hits, Stale, Revalidated, Misses, Passes, Errors, Gone uint64
	// Bytes of bodies that were sent to clients.
	Bytes uint64
	// Objects are stored for the site's hosts now, accounted for StoredBytes.
	Objects     int
	StoredBytes int64
}

// statistics counts.
type statistics struct {
	mu    sync.Mutex // guards sites
	sites map[string]SiteStats
}

func newStatistics() *statistics { return &statistics{sites: map[string]SiteStats{}} }

// add counts one request.
func (s *statistics) add(site string, r result, sent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sites[site]
	c.Requests++
	c.Bytes += uint64(sent)
	switch r {
	case resultHit:
		c.Hits++
	case resultStale:
		c.Stale++
	case resultRevalidated:
		c.Revalidated++
	case resultMiss:
		c.Misses++
	case resultPass:
		c.Passes++
	case resultGone:
		c.Gone++
	default:
		c.Errors++
	}
	s.sites[site] = c
}

func (s *statistics) forget(site string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sites, site)
}

// Stats gives a snapshot. Every site is in it, also one without requests.
func (s *Server) Stats() Stats {
	stored := s.cache.Stats()
	s.stats.mu.Lock()
	sites := maps.Clone(s.stats.sites)
	s.stats.mu.Unlock()
	for host, st := range *s.sites.Load() {
		c := sites[st.name]
		objects, bytes := s.cache.Host(host)
		c.Objects += objects
		c.StoredBytes += bytes
		sites[st.name] = c
	}
	return Stats{
		Sites: sites, Objects: stored.Objects, Bytes: stored.Bytes, Limit: stored.Limit,
		Evicted:  stored.Evicted,
		InFlight: s.budget.used.Load(), Unbuffered: s.budget.refused.Load(),
	}
}

// noSite stands for the site in counters of requests whose host nobody has.
const noSite = "(none)"

// count notes how a request was answered.
func (s *Server) count(x *exchange) {
	if x.result == resultHealth {
		return
	}
	name := noSite
	if x.site != nil {
		name = x.site.name
	}
	s.stats.add(name, x.result, x.sent)
	s.metrics.answered(name, x.result, x.sent)
}
