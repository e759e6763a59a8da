package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	batchLines = 256
	maxLine    = 1 << 20 // octets; a query over TCP and 16 decisions take less
	// defaultShown is how many differences a report names.
	defaultShown = 10
)

// Source is one decision log.
type Source struct {
	Name   string
	Reader io.Reader
	Tables *Tables // of the tables that its lines name
}

// Config says what is replayed and how.
type Config struct {
	// Repeat makes answers again; nil: only decisions are.
	Repeat Repeat
	// Host and Table keep to the lines of that host (canonical) and of tables whose hash begins
	// so; empty: all.
	Host, Table string
	// Shown is how many of the lines that differ, or could not be judged, the report names, the
	// first ones of each; 0: 10.
	Shown int
	// Workers is how many goroutines judge lines; 0: as many as there are processors.
	Workers int
	// Done, if not nil, is given how many octets and lines have been judged so far.
	Done *Progress
}

// Progress counts while Run runs.
type Progress struct {
	Octets, Lines atomic.Int64
}

// Report is what came of a replay.
type Report struct {
	// Lines are all that were read; Filtered those among them that the filter left out.
	Lines    int `json:"lines"`
	Filtered int `json:"filtered"`
	// Decisions and Answers count the others. Only lines with an equal decision count among
	// answers.
	Decisions map[Outcome]int `json:"decisions"`
	Answers   map[Outcome]int `json:"answers"`
	// Unmade says why answers could not be made again.
	Unmade map[string]int `json:"unmade,omitempty"`
	Tables int            `json:"tables"` // that were compiled
	// Dropped are events that the log itself says are missing in it.
	Dropped uint64        `json:"dropped"`
	Took    time.Duration `json:"took_ns"`
	// Found are the first lines that differ; Unjudged the first that could not be judged.
	Found    []Finding `json:"differences"`
	Unjudged []Finding `json:"unjudged,omitempty"`
}

// Finding is something about one line.
type Finding struct {
	File string  `json:"file"`
	Line int     `json:"line"` // from 1
	What Outcome `json:"what"`
	Why  string  `json:"why"`

	source int // which file, in the order given
}

// Differ counts the lines whose decision or answer is another.
func (r *Report) Differ() int { return r.Decisions[Differs] + r.Answers[Differs] }

// Lost counts the lines that nothing could be said about, though they should be good.
func (r *Report) Lost() int { return r.Decisions[NoTable] + r.Decisions[Unread] }

// Rate is how many lines were judged in a second.
func (r *Report) Rate() float64 { return float64(r.Lines) / max(r.Took.Seconds(), 1e-9) }

// batch is some lines of one source.
type batch struct {
	source int
	from   *Source
	first  int // number of the first line
	lines  [][]byte
}

// Run judges every line of the sources. It is an error when one can't be read, or ctx ends; lines
// that make no sense are counted.
func Run(ctx context.Context, cfg Config, sources []Source) (*Report, error) {
	start := time.Now()
	cfg.complete()
	before := made(sources)
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan batch, cfg.Workers)
	g.Go(func() error {
		defer close(batches)
		for i := range sources {
			if err := read(ctx, i, &sources[i], batches); err != nil {
				return fmt.Errorf("reading %s: %w", sources[i].Name, err)
			}
		}
		return nil
	})
	var mu sync.Mutex
	total := newTally(&cfg)
	for range cfg.Workers {
		g.Go(func() error {
			own := newTally(&cfg)
			for b := range batches {
				own.batch(&b)
			}
			mu.Lock()
			defer mu.Unlock()
			total.merge(own)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	r := total.report()
	r.Tables, r.Took = made(sources)-before, time.Since(start)
	return r, nil
}

func (c *Config) complete() {
	if c.Shown == 0 {
		c.Shown = defaultShown
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Done == nil {
		c.Done = &Progress{}
	}
}

// made counts the tables of sources, which may share them.
func made(sources []Source) (n int) {
	var seen []*Tables
	for _, s := range sources {
		if !slices.Contains(seen, s.Tables) {
			seen = append(seen, s.Tables)
			n += s.Tables.Made()
		}
	}
	return n
}

// read cuts a source into batches of lines.
func read(ctx context.Context, n int, from *Source, out chan<- batch) error {
	b := batch{source: n, from: from, first: 1}
	send := func() error {
		if len(b.lines) == 0 {
			return nil
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		b = batch{source: n, from: from, first: b.first + len(b.lines)}
		return nil
	}
	err := Lines(from.Reader, func(_ int, text []byte) error {
		if b.lines = append(b.lines, bytes.Clone(text)); len(b.lines) < batchLines {
			return nil
		}
		return send()
	})
	return errors.Join(err, send())
}

// Lines calls f for each line of a log, with its number from 1 and without its end; text is valid
// until f returns. An error of f ends it. Lines of more than 1 MiB are an error.
func Lines(r io.Reader, f func(n int, text []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 1<<16), maxLine)
	n := 0
	for s.Scan() {
		n++
		if err := f(n, s.Bytes()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// errFound ends a search.
var errFound = errors.New("found")

// Nth reads the n-th line of a log, from 1.
func Nth(r io.Reader, n int) (l Line, err error) {
	switch found := Lines(r, func(i int, text []byte) error {
		if i < n {
			return nil
		}
		l, err = Parse(text)
		return errFound
	}); {
	case errors.Is(found, errFound) && err != nil:
		return l, fmt.Errorf("line %d: %w", n, err)
	case errors.Is(found, errFound):
		return l, nil
	case found != nil:
		return l, found
	}
	return l, fmt.Errorf("there is no line %d", n)
}
