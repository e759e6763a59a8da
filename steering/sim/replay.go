package sim

import (
	"fmt"
	"time"
)

// curveStep is the time between two points of Result.Curve.
const curveStep = 10 * time.Second

// failing is the part of requests above which a backend does not work.
const failing = 0.5

// Result is what one policy made of one world. All minutes are user-minutes: one user for whom
// nothing worked for one minute, or two for whom every other request failed.
type Result struct {
	World  string `json:"world"`
	Policy string `json:"policy"`
	// Server is lost while what the nodes answered was worse than the best they could: the time
	// to detect and to answer, answers that were taken back too early, and empty ones. It is
	// what a steering system controls.
	Server float64 `json:"server_minutes"`
	// Hard is the part of Server that was lost at backends that failed more than half of the
	// requests from a region, or by giving no answer at all.
	Hard float64 `json:"hard_minutes"`
	// Clients is lost on answers that were given before, and are right by now.
	Clients float64 `json:"client_minutes"`
	// Moved is lost by users who were moved off a backend that worked, and as well as any (within
	// 1 % of requests, in every region), at World.MoveCost each.
	Moved float64 `json:"moved_minutes"`
	// Unavoidable is lost because the best backend failed too. It is no part of Total.
	Unavoidable float64 `json:"unavoidable_minutes"`

	// OutAfter is how long after the first loss answers were as good as could be (within 1 % of
	// the users); below 0: never, 0 also when nothing was ever lost.
	OutAfter Duration `json:"out_after"`
	// FalseFailovers are how often such a backend was taken out of answers, but for an earlier tier
	// that was back, for a node on average; Transitions are all ways out and back.
	FalseFailovers float64 `json:"false_failovers"`
	Transitions    float64 `json:"transitions"`
	// Churn is the part of users whose answer was changed, 1 for all of them once.
	Churn float64 `json:"churn"`
	// Empty is how many questions, one a second to each node, got no answer.
	Empty int `json:"empty_answers"`
	// Curve is the part of users for whom nothing worked, each 10 s.
	Curve []float64 `json:"curve"`
}

// Total is what was lost in all that could have been avoided.
func (r Result) Total() float64 { return r.Server + r.Clients + r.Moved }

// Run plays one policy, by its name, in a world that Finish has accepted. Equal worlds give
// equal results.
func Run(w *World, policy string) (Result, error) {
	p := find(policy)
	if p == nil {
		return Result{}, fmt.Errorf("running world %q: no policy %q", w.Name, policy)
	}
	player, err := p.start(w)
	if err != nil {
		return Result{}, fmt.Errorf("running world %q with %s: %w", w.Name, policy, err)
	}
	m := newMeter(w)
	m.result.World, m.result.Policy = w.Name, policy
	next := 0
	for t := time.Duration(0); t < time.Duration(w.Lasts); t += tick {
		for next < len(w.Plans) && time.Duration(w.Plans[next].At) <= t {
			player.order(w.Plans[next])
			next++
		}
		m.measure(t, player.step(t))
	}
	m.result.Empty = player.empty()
	return m.result, nil
}

// meter compares answers with the truth.
type meter struct {
	world   *World
	users   []float64 // by region
	clients *clients
	before  [][]float64 // the nodes' last answers
	mean    []float64
	bad     [][]float64 // the truth, by region and then backend; last is no answer at all
	worse   []bool      // by backend: than the best of some region, or failing
	floor   []float64   // by region: what is lost with its best backend
	result  Result
	losing  time.Duration // when the first loss was
	lost    bool
}

func newMeter(w *World) *meter {
	m := &meter{world: w, mean: make([]float64, len(w.Backends)+1),
		worse: make([]bool, len(w.Backends)), users: make([]float64, len(w.Regions)),
		floor: make([]float64, len(w.Regions)), bad: make([][]float64, len(w.Regions))}
	total := 0.0
	for _, r := range w.Regions {
		total += r.Users
	}
	for i, r := range w.Regions {
		m.users[i] = w.Users * r.Users / total
		m.bad[i] = make([]float64, len(w.Backends)+1)
		m.bad[i][len(w.Backends)] = 1
	}
	return m
}

// measure accounts for one tick with these answers.
func (m *meter) measure(t time.Duration, answers [][]float64) {
	m.look(t)
	m.average(answers)
	m.follow(answers)
	if m.clients == nil {
		m.clients = newClients(time.Duration(m.world.TTL), m.mean)
	}
	used := m.clients.step(m.mean)
	lost, late := 0.0, 0.0
	for r, users := range m.users {
		now, given := m.loss(used, m.bad[r]), m.loss(m.mean, m.bad[r])
		least := m.floor[r]
		server := min(max(0, given-least), max(0, now-least))
		minutes := users * tick.Minutes()
		m.result.Server += minutes * server
		if given > 0 {
			m.result.Hard += minutes * server * m.hard(m.mean, m.bad[r]) / given
		}
		m.result.Clients += minutes * (max(0, now-least) - server)
		m.result.Unavoidable += minutes * min(now, least)
		lost += users * now
		late += users * server
	}
	m.clock(t, lost/m.world.Users, late/m.world.Users)
}

// clock keeps the curve, and the time until answers were good.
func (m *meter) clock(t time.Duration, lost, late float64) {
	if t%curveStep == 0 {
		m.result.Curve = append(m.result.Curve, lost)
	}
	switch {
	case !m.lost && late > 0.01:
		m.lost, m.losing, m.result.OutAfter = true, t, -1
	case m.lost && m.result.OutAfter < 0 && late <= 0.01:
		m.result.OutAfter = Duration(t - m.losing)
	}
}

// look takes the truth of a moment.
func (m *meter) look(t time.Duration) {
	clear(m.worse)
	for r := range m.users {
		m.floor[r] = 1
		for b := range m.world.Backends {
			m.bad[r][b] = m.world.bad(b, r, t)
			if m.world.Backends[b].Weight > 0 {
				m.floor[r] = min(m.floor[r], m.bad[r][b])
			}
		}
		for b := range m.world.Backends {
			m.worse[b] = m.worse[b] || m.bad[r][b] > min(m.floor[r]+0.01, failing)
		}
	}
}

// average is what a resolver gets that asks any node that is alive.
func (m *meter) average(answers [][]float64) {
	clear(m.mean)
	alive := 0.0
	for _, a := range answers {
		if a != nil {
			alive++
		}
	}
	if alive == 0 {
		m.mean[len(m.mean)-1] = 1
		return
	}
	for _, a := range answers {
		for b := range a {
			m.mean[b] += a[b] / alive
		}
	}
}

// follow counts what changed since the last tick.
func (m *meter) follow(answers [][]float64) {
	if m.before == nil {
		m.before = make([][]float64, len(answers))
	}
	each := 1 / float64(len(answers))
	for i, is := range answers {
		was := m.before[i]
		if was != nil && is != nil {
			rung := m.rung(is)
			for b := range m.worse {
				m.change(was[b], is[b], m.worse[b], m.world.Backends[b].Tier > rung, each)
			}
		}
		m.before[i] = append(m.before[i][:0], is...)
		if is == nil {
			m.before[i] = nil
		}
	}
}

// rung is the first tier that answers.
func (m *meter) rung(answers []float64) int {
	first := mostTiers
	for b := range m.world.Backends {
		if answers[b] > 0 {
			first = min(first, m.world.Backends[b].Tier)
		}
	}
	return first
}

// change counts one node's change of one backend's part. One that is worse than others should
// leave, and a relieved one may: an earlier tier answers again.
func (m *meter) change(was, is float64, worse, relieved bool, each float64) {
	if (was > 0) != (is > 0) {
		m.result.Transitions += each
		if is == 0 && !worse && !relieved {
			m.result.FalseFailovers += each
		}
	}
	if fall := was - is; fall > 0 {
		m.result.Churn += each * fall
		if !worse {
			m.result.Moved += each * fall * m.world.Users * time.Duration(m.world.MoveCost).Minutes()
		}
	}
}

// loss is the part of a region's users for whom nothing works when users divide like this. What
// a backend gets above its capacity is lost too, evenly among all it gets.
func (m *meter) loss(shares, bad []float64) (lost float64) {
	for b, s := range shares {
		if s == 0 {
			continue
		}
		good := 1 - bad[b]
		if b < len(m.world.Backends) {
			if most := m.world.Backends[b].Capacity; most > 0 && s > most {
				good *= most / s
			}
		}
		lost += s * (1 - good)
	}
	return lost
}

// hard is the part of loss at those that fail more than half of the requests.
func (m *meter) hard(shares, bad []float64) (lost float64) {
	for b, s := range shares {
		if bad[b] > failing {
			lost += s * bad[b]
		}
	}
	return lost
}
