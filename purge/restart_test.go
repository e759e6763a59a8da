package purge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/providers"
	"pointsman/purge"
)

func TestARestartSendsAgainWhatMayHaveBeenSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		hang := make(chan struct{})
		c.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
			if call == 1 {
				<-hang
			}
			return ok()
		}
		n := start(t, purge.Config{}, c)
		id := submit(t, n.Service, tags("x")).ID
		synctest.Wait()
		st, err := n.Get(t.Context(), id)
		if err != nil || st.Results[0].State != purge.Sent {
			t.Fatalf("%+v, %v", st, err)
		}
		// A second process on a copy of the journal stands for the one after the crash.
		disk := &memory{Memory: n.local.Clone()}
		after := start(t, purge.Config{Local: disk}, c)
		if st := wait(t, after.Service, id); st.Outcome() != purge.Done {
			t.Errorf("%+v", st)
		}
		if len(c.calls) != 2 || c.calls[0].RepeatKey != c.calls[1].RepeatKey {
			t.Errorf("calls %+v", c.calls)
		}
		close(hang)
	})
}

func TestAStopLetsTheCallInHandEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			time.Sleep(3 * time.Second)
			return ok()
		}
		n := start(t, purge.Config{}, c)
		id := submit(t, n.Service, tags("x")).ID
		time.Sleep(time.Second)
		n.stop()
		if _, err := n.local.Get(t.Context(), "purge/done/"+id); err != nil {
			t.Errorf("its outcome is not in the journal: %v", err)
		}
	})
}

func TestAReloadReplacesProvidersAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, kept := newCDN("gone"), newCDN("kept")
		gone.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Transient, 0)
		}
		n := start(t, purge.Config{}, gone, kept)
		id := submit(t, n.Service, tags("x")).ID
		time.Sleep(time.Second)
		if err := n.SetTargets([]purge.Target{{Provider: kept}, {}}); err == nil {
			t.Error("a bad list was taken")
		}
		if err := n.SetTargets([]purge.Target{{Provider: kept}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		before := gone.callCount()
		time.Sleep(time.Hour)
		if gone.callCount() != before {
			t.Error("a removed provider was called")
		}
		if st, err := n.Get(t.Context(), id); err != nil || st.Final() {
			t.Errorf("%+v, %v", st, err)
		}
		back := newCDN("gone")
		if err := n.SetTargets([]purge.Target{{Provider: back, Concurrency: 1}}); err != nil {
			t.Fatal(err)
		}
		if st := wait(t, n.Service, id); st.Outcome() != purge.Done || back.callCount() != 1 {
			t.Errorf("%d calls, %+v", back.callCount(), st)
		}
	})
}

func TestADeliveryToAProviderThatNeverReturnsFailsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{}, newCDN("one"))
		n.stop()
		id := submit(t, n.Service, tags("x")).ID
		n = start(t, purge.Config{Local: n.local}, newCDN("other"))
		st := wait(t, n.Service, id)
		if r := st.Results[0]; r.State != purge.Failed || r.Attempts != 0 ||
			!strings.Contains(r.LastError, "not in this node's config") {
			t.Errorf("%+v", r)
		}
		if took := time.Since(st.AcceptedAt); took < 24*time.Hour || took > 25*time.Hour {
			t.Errorf("after %v", took)
		}
	})
}
