package sim

import (
	"math"
	"time"
)

// models are the emulated systems with their documented defaults. What is not documented is
// decided in their favour: vendors' checkers are many and never fail by themselves, a change
// of health is answered at once, and everybody divides by weight.
func models() []model {
	return []model{route53(), azure(), cloudflare(), gdnsd(), powerDNS()}
}

// Amazon Route 53 Developer Guide, "How Amazon Route 53 determines whether a health check is
// healthy": request interval 30 s, failure threshold 3 in both directions; HTTP(S): a connection
// within 4 s and an answer within 2 s after that; healthy when more than 18 % of the checkers say
// so; HTTPS checks don't validate certificates. "How Route 53 chooses records when health
// checking is configured": when none is healthy, all are treated as healthy. String matching can
// be set up for the body.
func route53() model {
	return model{
		name:  "route53",
		about: "3 x 30 s, healthy if more than 18 % of 16 checkers say so, certificates unseen",
		check: check{interval: 30 * time.Second, connect: 4 * time.Second,
			reply: 2 * time.Second, content: true},
		fleet:   16,
		judge:   inARow(3, 3),
		healthy: func(up []bool) bool { return 100*count(up) > 18*len(up) },
		answer:  allAsHealthy,
	}
}

// Azure Traffic Manager, "Endpoint monitoring": probing interval 30 s, timeout 10 s, tolerated
// number of failures 3, so that the fourth in a row degrades; one 200 brings it back; when all
// endpoints are degraded, all are answered. Certificates are not validated, bodies not read.
// How probing regions are heard together is not documented; here the majority counts.
func azure() model {
	return model{
		name:  "azure",
		about: "4 x 30 s with 10 s timeouts, back after one success, certificates unseen",
		check: check{interval: 30 * time.Second, connect: 10 * time.Second,
			reply: 10 * time.Second},
		fleet:   6,
		judge:   inARow(4, 1),
		healthy: majority,
		answer:  allAsHealthy,
	}
}

// Cloudflare Load Balancing, "Monitors" and the schema of its API: interval 60 s, timeout 5 s,
// 2 retries at once after a timeout, consecutive_up and consecutive_down 0, so that one check
// decides; certificates are validated (allow_insecure is false), expected_body can be set up.
// "Health checks: regions": three data centres in each, and the majority in a region, then of
// the regions, decides; 13 regions when all are chosen. "Fallback pools": with all unhealthy the
// fallback pool answers whatever its health; here that is the last backend.
func cloudflare() model {
	return model{
		name:  "cloudflare",
		about: "1 x 60 s with two retries, majority of 13 regions of 3, fallback pool",
		check: check{interval: time.Minute, connect: 5 * time.Second, reply: 5 * time.Second,
			certificates: true, content: true, retries: 2},
		fleet:  39,
		groups: 13,
		judge:  inARow(1, 1),
		healthy: func(up []bool) bool {
			regions := make([]bool, len(up)/3)
			for i := range regions {
				regions[i] = majority([]bool{up[i], up[i+13], up[i+26]})
			}
			return majority(regions)
		},
		answer: lastResort,
	}
}

// gdnsd 3 manual, gdnsd.config(5) "service_types": interval 10 s, timeout half of it,
// up_thresh 20, ok_thresh 10, down_thresh 10; the plugin http_status speaks no TLS and reads no
// body. gdnsd-plugin-weighted(8): up_thresh 0.5: with less weight up than that, all are answered
// as if up, and a parent takes the next. Each daemon has a view of its own.
func gdnsd() model {
	return model{
		name:  "gdnsd",
		about: "10 x 10 s, back after 20 x 10 s, each daemon alone, certificates unseen",
		check: check{interval: 10 * time.Second, connect: 5 * time.Second,
			reply: 5 * time.Second},
		judge:  leaky,
		answer: halfUp,
	}
}

// PowerDNS Authoritative Server, "Lua records", ifurlup: lua-health-checks-interval 5 s, timeout
// 2 s, minimumFailures 1; one success brings it back; stringmatch can be set up; the client that
// it fetches with does not verify certificates unless told to (minicurl.hh). With none up, the
// backupSelector picks any. Each server has a view of its own.
func powerDNS() model {
	return model{
		name:  "powerdns",
		about: "1 x 5 s, back after one success, each server alone, certificates unseen",
		check: check{interval: 5 * time.Second, connect: 2 * time.Second,
			reply: 2 * time.Second, content: true},
		judge:  inARow(1, 1),
		answer: anyOf,
	}
}

// inARow takes a backend out after so many failures in a row, and back after so many successes.
func inARow(fall, rise int) func(*verdict, bool) {
	return func(j *verdict, ok bool) {
		if ok {
			j.successes, j.failures = j.successes+1, 0
			j.down = j.down && j.successes < rise
		} else {
			j.successes, j.failures = 0, j.failures+1
			j.down = j.down || j.failures >= fall
		}
	}
}

// leaky is gdnsd's: failures add up until 10 successes in a row clear them.
func leaky(j *verdict, ok bool) {
	const upThresh, okThresh, downThresh = 20, 10, 10
	if !ok {
		j.successes, j.failures = 0, j.failures+1
		j.down = j.down || j.failures >= downThresh
		return
	}
	j.successes++
	if !j.down && j.successes >= okThresh || j.successes >= upThresh {
		j.failures = 0
	}
	j.down = j.down && j.successes < upThresh
}

func count(up []bool) (n int) {
	for _, u := range up {
		if u {
			n++
		}
	}
	return n
}

func majority(up []bool) bool { return 2*count(up) > len(up) }

// tierOf fills in the weights of a tier's backends that are up, or of all, and returns them.
func (w *weights) tierOf(tier int, up []bool, out []float64) (total float64) {
	for b := range out {
		out[b] = 0
		if w.tier[b] == tier && (up == nil || up[b]) {
			out[b] = w.weight[b]
			total += out[b]
		}
	}
	return total
}

// mostTiers is above every tier.
const mostTiers = 10

// firstUp answers with the first tier that has anything up, and reports whether one has.
func (w *weights) firstUp(up []bool, out []float64) bool {
	for tier := range mostTiers {
		if w.tierOf(tier, up, out) > 0 {
			return true
		}
	}
	return false
}

// allAsHealthy answers with all of the first tier when nothing is up.
func allAsHealthy(w *weights, up []bool, out []float64) {
	if !w.firstUp(up, out) {
		w.firstUp(nil, out)
	}
}

// lastResort answers with the last backend when nothing is up.
func lastResort(w *weights, up []bool, out []float64) {
	if w.firstUp(up, out) {
		return
	}
	for b := range out {
		if w.weight[b] > 0 {
			clear(out)
			out[b] = 1
		}
	}
}

// anyOf answers with any backend when nothing is up.
func anyOf(w *weights, up []bool, out []float64) {
	if w.firstUp(up, out) {
		return
	}
	for b := range out {
		if w.weight[b] > 0 {
			out[b] = 1
		}
	}
}

// halfUp answers with the first tier of which at least half of the weight is up, and else with
// the first as if all were.
func halfUp(w *weights, up []bool, out []float64) {
	for tier := range mostTiers {
		all := w.tierOf(tier, nil, out)
		if all > 0 && w.tierOf(tier, up, out) >= math.Ceil(all/2) {
			return
		}
	}
	w.firstUp(nil, out)
}
