package purge_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/store"
	"pointsman/purge"
)

// TestAMoveToTheHistoryThatADiskRefusesAtTheStartIsMadeLater: it ended the whole node.
func TestAMoveToTheHistoryThatADiskRefusesAtTheStartIsMadeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, local := newCDN("one"), newMemory()
		// The crash comes between the two steps of the move.
		local.setFault(func(operation, _ string) (bool, bool) { return operation == "delete", false })
		before := start(t, purge.Config{Local: local}, c)
		id := submit(t, before.Service, tags("x")).ID
		wait(t, before.Service, id)
		before.stop()

		disk := &memory{Memory: local.Clone()}
		disk.setFault(func(operation, _ string) (bool, bool) {
			return operation == "put" || operation == "delete", false
		})
		after := start(t, purge.Config{Local: disk}, c)
		time.Sleep(time.Minute)
		if st, err := after.Get(t.Context(), id); err != nil || st.Outcome() != purge.Done {
			t.Errorf("on a disk that takes no writes it is %+v, %v", st, err)
		}
		if _, err := after.Submit(t.Context(), tags("y")); !errors.Is(err, purge.ErrJournal) {
			t.Errorf("a new one gives %v", err)
		}
		disk.setFault(nil)
		time.Sleep(time.Minute)
		if _, err := disk.Get(t.Context(), "purge/open/"+id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after a minute with room it is still open: %v", err)
		}
		if n := c.callCount(); n != 1 {
			t.Errorf("the provider was called %d times", n)
		}
	})
}
