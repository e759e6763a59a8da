package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pointsman/internal/store"
)

var raceTests = map[string]func(*testing.T, store.Store){
	"counting by compare-and-set loses no count": func(t *testing.T, s store.Store) {
		const writers, each = 8, 12
		together(t, writers, func(int) error {
			for range each {
				if err := increment(t.Context(), s, "counter"); err != nil {
					return err
				}
			}
			return nil
		})
		if got := string(mustGet(t, s, "counter").Value); got != strconv.Itoa(writers*each) {
			t.Errorf("counted %s, want %d", got, writers*each)
		}
	},
	"a counter under faults is between acknowledged and tried": countUnderFaults,
	"appending until acknowledged loses nothing":               appendUnderFaults,
	"one key is linearizable": func(t *testing.T, s store.Store) {
		checkHistory(t, record(t, s))
	},
	"one key is linearizable under faults": func(t *testing.T, s store.Store) {
		f := NewFaulty(s)
		f.Randomly(7, 0.15, 0.15, 0.1)
		checkHistory(t, record(t, f))
	},
}

// increment adds one, trying again on conflicts alone.
func increment(ctx context.Context, s store.Store, key string) error {
	for {
		n := 0
		e, err := s.Get(ctx, key)
		switch {
		case err == nil:
			if n, err = strconv.Atoi(string(e.Value)); err != nil {
				return err
			}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		value := []byte(strconv.Itoa(n + 1))
		_, err = s.Put(ctx, key, value, store.PutOptions{Expect: &e.Revision})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func countUnderFaults(t *testing.T, s store.Store) {
	f := NewFaulty(s)
	f.Randomly(3, 0.2, 0.2, 0.1)
	var acknowledged, unknown atomic.Int64
	together(t, 6, func(int) error {
		for range 15 {
			switch err := increment(t.Context(), f, "counter"); {
			case err == nil:
				acknowledged.Add(1)
			case errors.Is(err, store.ErrUnavailable):
				unknown.Add(1)
			default:
				return err
			}
		}
		return nil
	})
	got, err := strconv.ParseInt(string(mustGet(t, s, "counter").Value), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if least, most := acknowledged.Load(), acknowledged.Load()+unknown.Load(); got < least ||
		got > most {
		t.Errorf("counted %d, want %d to %d", got, least, most)
	}
}

func appendUnderFaults(t *testing.T, s store.Store) {
	f := NewFaulty(s)
	f.FailWrites(Before, 2)
	f.FailWrites(After, 2)
	tries := 0
	for err := error(store.ErrUnavailable); err != nil; tries++ {
		_, err = f.Append(t.Context(), "log", []byte("x"))
		if err != nil {
			wantError(t, "Append", err, store.ErrUnavailable)
		}
	}
	if tries != 5 {
		t.Errorf("acknowledged at try %d, want 5", tries)
	}
	// Two took effect without an acknowledgement, the fifth with one.
	wantValues(t, f, "log", 0, 10, "x", "x", "x")
}

// call is one operation on the register; result what came of it.
type call struct {
	kind   string // get, put, delete
	value  string
	expect *uint64
}

type result struct {
	outcome  string // ok, absent, conflict, unknown
	value    string
	revision uint64
}

// register is the state that the model gives to the key. Revision 0 of a present key: a write
// took effect whose revision nobody was told.
type register struct {
	present  bool
	value    string
	revision uint64
}

// record lets clients work on one key at once and returns what they saw.
func record(t *testing.T, s store.Store) []porcupine.Operation {
	const clients, each = 5, 24
	var mu sync.Mutex // guards history
	var history []porcupine.Operation
	began := time.Now()
	together(t, clients, func(client int) error {
		random := rand.New(rand.NewPCG(uint64(client), 1))
		var known uint64
		for i := range each {
			c := call{kind: "get"}
			switch chance := random.IntN(10); {
			case chance < 5:
				c = call{kind: "put", value: fmt.Sprintf("%d.%d", client, i), expect: &known}
			case chance < 6:
				c = call{kind: "put", value: fmt.Sprintf("%d.%d", client, i)}
			case chance < 7:
				c = call{kind: "delete", expect: &known}
			}
			if c.expect != nil {
				c.expect = store.Expect(known)
			}
			from := time.Since(began)
			out, err := perform(t.Context(), s, c)
			if err != nil {
				return err
			}
			to := int64(time.Since(began))
			if out.outcome == "unknown" {
				to = math.MaxInt64 // it may take effect at any time from now on
			} else {
				known = out.revision
			}
			mu.Lock()
			history = append(history, porcupine.Operation{
				ClientId: client, Input: c, Call: int64(from), Output: out, Return: to,
			})
			mu.Unlock()
		}
		return nil
	})
	return history
}

func perform(ctx context.Context, s store.Store, c call) (result, error) {
	var out result
	var err error
	switch c.kind {
	case "get":
		var e store.Entry
		e, err = s.Get(ctx, "register")
		out.value, out.revision = string(e.Value), e.Revision
	case "put":
		out.revision, err = s.Put(ctx, "register", []byte(c.value),
			store.PutOptions{Expect: c.expect})
	case "delete":
		err = s.Delete(ctx, "register", c.expect)
	}
	switch {
	case err == nil:
		out.outcome = "ok"
	case errors.Is(err, store.ErrNotFound):
		out.outcome = "absent"
	case errors.Is(err, store.ErrConflict):
		out.outcome = "conflict"
	case errors.Is(err, store.ErrUnavailable):
		out.outcome = "unknown"
	default:
		return out, err
	}
	return out, nil
}

func checkHistory(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{register{}} },
		Step: func(state, input, output any) []any {
			return step(state.(register), input.(call), output.(result))
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v -> %+v", input, output)
		},
	}
	m := model.ToModel()
	// The search is long where many outcomes are unknown; a slow machine must not decide it.
	if got := porcupine.CheckOperationsTimeout(m, history, 12*patience); got != porcupine.Ok {
		t.Errorf("history of %d operations is %s:", len(history), got)
		for _, o := range history {
			t.Logf("client %d %d..%d %s", o.ClientId, o.Call, o.Return,
				model.DescribeOperation(o.Input, o.Output))
		}
	}
}

// step returns the states that can follow, none when the output can't come of the state.
func step(was register, c call, out result) []any {
	switch out.outcome {
	case "unknown":
		states := []any{was}
		if c.kind == "put" && matches(was, c.expect) {
			states = append(states, register{present: true, value: c.value})
		}
		if c.kind == "delete" && was.present && matches(was, c.expect) {
			states = append(states, register{})
		}
		return states
	case "absent":
		if was.present {
			return nil
		}
		return []any{was}
	case "conflict":
		if c.expect == nil || certain(was, *c.expect) {
			return nil
		}
		return []any{was}
	}
	switch c.kind {
	case "get":
		known := was.revision == 0 || was.revision == out.revision
		if !was.present || was.value != out.value || !known {
			return nil
		}
		return []any{register{true, out.value, out.revision}}
	case "put":
		if !matches(was, c.expect) {
			return nil
		}
		return []any{register{true, c.value, out.revision}}
	}
	if c.expect != nil && !matches(was, c.expect) {
		return nil
	}
	return []any{register{}}
}

// matches reports whether the state may have the expected revision.
func matches(was register, expect *uint64) bool {
	switch {
	case expect == nil:
		return true
	case !was.present || *expect == 0:
		return !was.present && *expect == 0
	}
	return was.revision == 0 || was.revision == *expect
}

// certain reports whether the state has the revision without doubt.
func certain(was register, expect uint64) bool {
	if !was.present {
		return expect == 0
	}
	return expect != 0 && was.revision == expect
}
