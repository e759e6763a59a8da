package purge_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/providers"
	"pointsman/purge"
)

func ok() (bool, providers.Receipt, error) { return true, providers.Receipt{}, nil }

func no(class providers.Class, after time.Duration) (bool, providers.Receipt, error) {
	return false, providers.Receipt{}, failing(class, after)
}

func TestAnErrorThatNoRepeatCanMendFailsAtOnceAndSaysWhatToDo(t *testing.T) {
	for class, advice := range map[providers.Class]string{
		providers.Invalid: "correct them", providers.Auth: "credentials",
		providers.NotFound: "zone or service", providers.Unsupported: "another kind",
		providers.TooLarge: "wider kind",
	} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad, good := newCDN("bad"), newCDN("good")
				bad.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
					return no(class, 0)
				}
				n := start(t, purge.Config{}, bad, good)
				st := wait(t, n.Service, submit(t, n.Service, tags("x")).ID)
				r := st.Results[0]
				if bad.callCount() != 1 || r.State != purge.Failed || r.BatchesFailed != 1 ||
					!strings.Contains(r.Advice, advice) || !strings.Contains(r.LastError, "scripted") {
					t.Errorf("%d calls, %+v", bad.callCount(), r)
				}
				if st.Outcome() != purge.Partly || st.Outcome().ExitCode() != 3 {
					t.Errorf("outcome %s", st.Outcome())
				}
			})
		})
	}
}

func TestDeniedCallsAreGivenUpBeforeAllOfThemAreMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.caps = full(1)
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Auth, 0)
		}
		n := start(t, purge.Config{}, c)
		var items []string
		for i := range 100 {
			items = append(items, fmt.Sprint(i))
		}
		st := wait(t, n.Service, submit(t, n.Service, tags(items...)).ID)
		if r := st.Results[0]; c.callCount() != 3 || r.BatchesFailed != 100 || r.Advice == "" {
			t.Errorf("%d calls, %+v", c.callCount(), r)
		}
	})
}

func TestOneItemThatIsRefusedDoesNotKeepTheOthersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.caps = full(1)
		c.script = func(_ int, b providers.Batch) (bool, providers.Receipt, error) {
			if b.Items[0] == "3" {
				return no(providers.Invalid, 0)
			}
			return ok()
		}
		n := start(t, purge.Config{}, c)
		st := wait(t, n.Service, submit(t, n.Service, tags("1", "2", "3", "4", "5")).ID)
		r := st.Results[0]
		if len(c.appliedOf(st.ID)) != 4 || r.BatchesTaken != 4 || r.BatchesFailed != 1 ||
			st.Outcome() != purge.Partly {
			t.Errorf("%+v", st)
		}
	})
}

func TestABatchThatIsTooLargeIsSplitUntilItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.script = func(_ int, b providers.Batch) (bool, providers.Receipt, error) {
			if len(b.Items) > 2 {
				return no(providers.TooLarge, 0)
			}
			return ok()
		}
		n := start(t, purge.Config{}, c)
		st := wait(t, n.Service, submit(t, n.Service, tags("a", "b", "c", "d", "e", "f", "g")).ID)
		var got []string
		for _, a := range c.appliedOf(st.ID) {
			got = append(got, a.Items...)
		}
		slices.Sort(got)
		if strings.Join(got, "") != "abcdefg" || st.Outcome() != purge.Done {
			t.Errorf("applied %v, %+v", got, st)
		}
	})
}

func TestARepeatCarriesTheSameKeyAndHappensNoEarlierThanTheProviderAsked(t *testing.T) {
	for _, class := range []providers.Class{providers.Throttled, providers.Busy,
		providers.Transient} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCDN("one")
				var at []time.Time
				c.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
					at = append(at, time.Now())
					if call == 1 {
						return no(class, 40*time.Second)
					}
					return ok()
				}
				n := start(t, purge.Config{}, c)
				st := wait(t, n.Service, submit(t, n.Service, tags("x")).ID)
				if len(at) != 2 || at[1].Sub(at[0]) < 40*time.Second ||
					at[1].Sub(at[0]) > 60*time.Second {
					t.Fatalf("calls at %v", at)
				}
				if c.calls[0].RepeatKey != c.calls[1].RepeatKey || c.calls[0].RepeatKey == "" {
					t.Errorf("keys %q, %q", c.calls[0].RepeatKey, c.calls[1].RepeatKey)
				}
				r := st.Results[0]
				if r.Attempts != 2 || r.LastError == "" || r.Advice != "" ||
					st.Outcome() != purge.Done {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestAThrottledProviderIsLeftAloneByEveryPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		quiet := time.Now().Add(30 * time.Second)
		var early atomic.Int64
		c.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
			if call == 1 {
				return no(providers.Throttled, 30*time.Second)
			}
			if time.Now().Before(quiet) {
				early.Add(1)
			}
			return ok()
		}
		n := start(t, purge.Config{}, c)
		submit(t, n.Service, tags("first"))
		synctest.Wait()
		for i := range 20 {
			submit(t, n.Service, tags(fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Minute)
		if early.Load() != 0 || c.callCount() != 22 {
			t.Errorf("%d calls, %d of them while asked to wait", c.callCount(), early.Load())
		}
	})
}

func TestASlowProviderDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := newCDN("slow"), newCDN("quick")
		slow.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			time.Sleep(29 * time.Second)
			return ok()
		}
		n := start(t, purge.Config{}, slow, quick)
		for i := range 50 {
			submit(t, n.Service, tags(fmt.Sprint(i)))
		}
		time.Sleep(time.Second)
		if quick.callCount() != 50 || slow.callCount() != 4 {
			t.Errorf("after a second: quick %d, slow %d", quick.callCount(), slow.callCount())
		}
		time.Sleep(10 * time.Minute)
		if slow.callCount() != 50 {
			t.Errorf("slow had %d in the end", slow.callCount())
		}
	})
}

func TestAPoisonedPurgeDoesNotKeepTheOthersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.script = func(_ int, b providers.Batch) (bool, providers.Receipt, error) {
			switch b.Items[0] {
			case "poison":
				return no(providers.Transient, 0)
			case "panic":
				panic("a bug")
			}
			return ok()
		}
		n := start(t, purge.Config{Deadline: time.Hour}, c)
		bad := []purge.Status{submit(t, n.Service, tags("poison")), submit(t, n.Service, tags("panic"))}
		var good []purge.Status
		for i := range 100 {
			good = append(good, submit(t, n.Service, tags(fmt.Sprint(i))))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for _, g := range good {
			st, err := n.Get(t.Context(), g.ID)
			if err != nil || st.Outcome() != purge.Done {
				t.Errorf("%+v, %v", st, err)
			}
		}
		for _, b := range bad {
			st := wait(t, n.Service, b.ID)
			r := st.Results[0]
			if took := r.DoneAt.Sub(st.AcceptedAt); r.State != purge.Failed ||
				!strings.Contains(r.LastError, "deadline") || r.Advice == "" ||
				took < time.Hour || took > time.Hour+2*time.Second {
				t.Errorf("after %v: %+v", took, r)
			}
		}
	})
}

func TestTheBreakerSparesAProviderThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		up := time.Now().Add(time.Hour)
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			if time.Now().Before(up) {
				return no(providers.Transient, 0)
			}
			return ok()
		}
		n := start(t, purge.Config{Tick: 15 * time.Second}, c)
		var all []purge.Status
		for i := range 300 {
			all = append(all, submit(t, n.Service, tags(fmt.Sprint(i))))
		}
		time.Sleep(time.Hour)
		if during := c.callCount(); during > 1000 {
			t.Errorf("%d calls in an hour of outage", during)
		}
		time.Sleep(5 * time.Minute) // the goal: drained five minutes after its return
		for _, s := range all {
			if st, err := n.Get(t.Context(), s.ID); err != nil || st.Outcome() != purge.Done {
				t.Fatalf("%+v, %v", st, err)
			}
		}
	})
}

func TestCallsKeepToTheConfiguredRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.caps = full(1)
		n := start(t, purge.Config{Targets: []purge.Target{{Provider: c, Rate: 5, Burst: 10}}})
		var items []string
		for i := range 100 {
			items = append(items, fmt.Sprint(i))
		}
		id := submit(t, n.Service, tags(items...)).ID
		for second := range 15 {
			if got, most := c.callCount(), 10+5*(second+1); got > most {
				t.Errorf("after %d s: %d calls, at most %d", second, got, most)
			}
			time.Sleep(time.Second)
		}
		if st := wait(t, n.Service, id); st.Outcome() != purge.Done ||
			st.Results[0].Attempts != 100 {
			t.Errorf("%+v", st)
		}
		if took := c.applied[99].at.Sub(c.applied[0].at); took > 25*time.Second {
			t.Errorf("100 calls took %v", took)
		}
	})
}

func TestAnEstimateIsHonestAboutWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := newCDN("estimates"), newCDN("confirms")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return true, providers.Receipt{Estimate: 5 * time.Second}, nil
		}
		d.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return true, providers.Receipt{Confirmed: true}, nil
		}
		n := start(t, purge.Config{}, c, d)
		id := submit(t, n.Service, tags("x")).ID
		time.Sleep(4 * time.Second)
		st, err := n.Get(t.Context(), id)
		if err != nil || st.Results[1].State != purge.Accepted || st.Final() {
			t.Errorf("before: %+v, %v", st, err)
		}
		time.Sleep(2 * time.Second)
		st, err = n.Get(t.Context(), id)
		if err != nil || st.Results[1].State != purge.Estimated || !st.Final() ||
			st.Results[0].State != purge.Confirmed {
			t.Errorf("after: %+v, %v", st, err)
		}
	})
}

func TestARetryBeginsANewRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := newCDN("bad"), newCDN("good")
		bad.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
			if call == 1 {
				return no(providers.Auth, 0)
			}
			return ok()
		}
		n := start(t, purge.Config{}, bad, good)
		st := wait(t, n.Service, submit(t, n.Service, tags("x")).ID)
		if st.Outcome() != purge.Partly {
			t.Fatalf("%+v", st)
		}
		again, err := n.Retry(t.Context(), st.ID)
		if err != nil || again.Outcome() == purge.Partly {
			t.Fatalf("%+v, %v", again, err)
		}
		st = wait(t, n.Service, st.ID)
		if st.Outcome() != purge.Done || bad.callCount() != 2 || good.callCount() != 1 {
			t.Errorf("%d and %d calls, %+v", bad.callCount(), good.callCount(), st)
		}
		if bad.calls[0].RepeatKey == bad.calls[1].RepeatKey {
			t.Errorf("the new round has the old key %s", bad.calls[0].RepeatKey)
		}
		if st, err = n.Retry(t.Context(), st.ID); err != nil || st.Outcome() != purge.Done {
			t.Errorf("with nothing to retry: %+v, %v", st, err)
		}
		list, err := n.List(t.Context(), 0)
		if err != nil || len(list) != 1 {
			t.Errorf("listed %+v, %v", list, err)
		}
	})
}
