package app

import (
	"errors"
	"testing"
)

func TestAStateThatCannotBeWrittenIsToldOncePerOutage(t *testing.T) {
	var w storeWatch
	var told []bool
	gone := errors.New("disk gone")
	for _, err := range []error{nil, gone, gone, gone, nil, gone} {
		told = append(told, w.unwritten(err))
	}
	for i, want := range []bool{false, true, false, false, false, true} {
		if told[i] != want {
			t.Errorf("write %d told %v, want %v", i, told[i], want)
		}
	}
}
