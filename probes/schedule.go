package probes

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of a SchedulerConfig.
const (
	DefaultBudget = 200.0
	DefaultBuffer = 1024
)

// jitter is the part of an interval by which each probe may begin after its slot.
const jitter = 0.05

// SchedulerConfig is what a Scheduler needs.
type SchedulerConfig struct {
	Prober  Prober
	Vantage string // stands in the samples of drilled probes; the prober names its own
	Fault   Fault  // nil: no drills
	// Budget is the most probes a second, over all targets; 0: DefaultBudget. When the targets
	// ask for more, all of them are probed less often.
	Budget float64
	// Rand draws phases and jitter; nil: seeded by the system. Only the scheduler may use it.
	Rand       *rand.Rand
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
	// Buffer is how many samples wait for a reader before the oldest is dropped; 0:
	// DefaultBuffer.
	Buffer int
}

// Scheduler probes targets in constant work: each at its interval and phase, whatever its
// state. All methods are safe for concurrent use.
type Scheduler struct {
	prober  Prober
	vantage string
	fault   Fault
	log     *slog.Logger
	metrics *metrics
	rate    float64 // the budget, in probes a second
	samples chan Sample
	wake    chan struct{} // holds one signal: the queue's head may have changed

	mu      sync.Mutex // guards all below, and the order of sends to samples
	rand    *rand.Rand
	budget  budget
	entries map[string]*entry // by target name
	queue   queue
}

// entry is a target with its place in time. The scheduler's mutex guards it.
type entry struct {
	target Target
	slot   time.Time // the phase: slots are whole intervals apart
	due    time.Time // the slot and its jitter
	index  int       // in the queue; -1 while it is being probed, or once it was removed
	gone   bool
	cancel context.CancelFunc // ends the probe under way; nil when there is none
}

// NewScheduler returns a scheduler without targets. It panics without a prober.
func NewScheduler(c SchedulerConfig) *Scheduler {
	if c.Prober == nil {
		panic("probes: a scheduler needs a prober")
	}
	if c.Budget <= 0 {
		c.Budget = DefaultBudget
	}
	if c.Buffer <= 0 {
		c.Buffer = DefaultBuffer
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return &Scheduler{
		prober: c.Prober, vantage: c.Vantage, fault: c.Fault, log: c.Logger,
		metrics: newMetrics(c.Registerer), samples: make(chan Sample, c.Buffer),
		wake: make(chan struct{}, 1), rand: c.Rand, budget: newBudget(c.Budget),
		rate: c.Budget, entries: map[string]*entry{},
	}
}

// Samples returns the one channel on which samples arrive. It is closed when Run returns.
func (s *Scheduler) Samples() <-chan Sample { return s.samples }

// SetTargets replaces the targets. One that is unchanged keeps its phase; a new or changed
// one begins at a random moment of its first interval; a removed one stops: its probe under
// way is cancelled and not reported, and its series are deleted. Names must be unique: when
// two are equal, the later stands. It may be called before and while Run runs.
func (s *Scheduler) SetTargets(targets []Target) {
	wanted, backends, asked := map[string]Target{}, map[string]bool{}, 0.0
	for _, t := range targets {
		wanted[t.Name] = t
	}
	for _, t := range wanted {
		backends[t.Backend] = true
		asked += 1 / t.interval().Seconds()
	}
	if asked > s.rate {
		s.log.Warn("probe budget exceeded by the targets",
			"asked_per_second", asked, "budget_per_second", s.rate)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for name, e := range s.entries {
		if !backends[e.target.Backend] {
			s.metrics.forgetBackend(e.target.Backend)
		}
		if t, ok := wanted[name]; !ok || !t.equal(e.target) {
			s.remove(e)
		}
	}
	for _, t := range targets {
		if s.entries[t.Name] == nil {
			s.add(wanted[t.Name], now)
		}
	}
	s.metrics.targets.Set(float64(len(wanted)))
	s.signal()
}

// add puts a target on the queue at a random moment of its first interval.
func (s *Scheduler) add(t Target, now time.Time) {
	e := &entry{target: t, slot: now.Add(s.part(t.interval()))}
	e.due = e.slot
	s.entries[t.Name] = e
	heap.Push(&s.queue, e)
}

// remove takes a target off the queue and ends its probe.
func (s *Scheduler) remove(e *entry) {
	e.gone = true
	delete(s.entries, e.target.Name)
	if e.index >= 0 {
		heap.Remove(&s.queue, e.index)
	}
	if e.cancel != nil {
		e.cancel()
	}
	s.metrics.forgetTarget(e.target)
}

// part returns a random part of d.
func (s *Scheduler) part(d time.Duration) time.Duration {
	return time.Duration(s.rand.Float64() * float64(d))
}

// signal lets Run look at the queue again.
func (s *Scheduler) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run probes until ctx ends, then waits for the probes under way, closes the channel of
// samples and returns ctx's error. It can be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	var probes sync.WaitGroup
	defer close(s.samples)
	defer probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("probing: %w", context.Cause(ctx))
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.startDue(ctx, &probes))
	}
}

// startDue starts every probe that is due and paid for, and returns when to look again.
func (s *Scheduler) startDue(ctx context.Context, probes *sync.WaitGroup) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		e, now := s.queue[0], time.Now()
		if wait := e.due.Sub(now); wait > 0 {
			return wait
		}
		if wait := s.budget.take(now); wait > 0 {
			return wait
		}
		if now.Sub(e.slot) > e.target.interval()/5 {
			s.metrics.late.WithLabelValues(e.target.Backend).Inc()
		}
		heap.Pop(&s.queue)
		probeCtx, cancel := context.WithCancel(ctx)
		e.cancel = cancel
		probes.Go(func() { s.probe(probeCtx, e) })
	}
	return time.Hour
}

// probe measures a target, unless a drill makes it fail, and puts it back on the queue.
func (s *Scheduler) probe(ctx context.Context, e *entry) {
	var sample Sample
	if reason, failing := s.drilled(e.target.Backend); failing {
		sample = Sample{
			Backend: e.target.Backend, Vantage: s.vantage, Target: e.target.Name,
			Start: time.Now().UTC(), Outcome: FailedDrill, Detail: "drill: " + reason,
		}
	} else {
		sample = s.prober.Probe(ctx, e.target)
	}
	s.finish(e, sample, ctx.Err() == nil)
}

func (s *Scheduler) drilled(backend string) (reason string, failing bool) {
	if s.fault == nil {
		return "", false
	}
	return s.fault.Inject(backend, time.Now())
}

// finish emits a probe's sample, if it was not cut short, and plans the target's next probe.
// Of the slots that passed meanwhile the last is probed at once, the others are left out and
// counted: a slow target is asked as soon as it may be, and there is never a burst.
func (s *Scheduler) finish(e *entry, sample Sample, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.cancel()
	e.cancel = nil
	if e.gone {
		return
	}
	if whole {
		s.metrics.observe(sample)
		s.emit(sample)
	}
	interval, now := e.target.interval(), time.Now()
	e.slot = e.slot.Add(interval)
	if behind := now.Sub(e.slot); behind > 0 {
		skipped := behind / interval
		e.slot = e.slot.Add(skipped * interval)
		e.due = e.slot
		s.metrics.late.WithLabelValues(e.target.Backend).Add(float64(skipped))
	} else {
		e.due = e.slot.Add(s.part(time.Duration(jitter * float64(interval))))
	}
	heap.Push(&s.queue, e)
	s.signal()
}

// emit sends without waiting; what is oldest goes when the channel is full.
func (s *Scheduler) emit(sample Sample) {
	for {
		select {
		case s.samples <- sample:
			return
		default:
		}
		select {
		case <-s.samples:
			s.metrics.dropped.Inc()
		default:
		}
	}
}

// queue is a heap of entries, the first due at its head.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.index = -1
	return e
}
