package redisstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"pointsman/internal/store"
	"pointsman/internal/store/redisstore"
	"pointsman/internal/store/storetest"
)

func TestTheServerKeepsTheContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	srv := startServer(t)
	defer srv.kill()
	var n atomic.Int32
	storetest.Run(t, func(t *testing.T) store.Store {
		return srv.open(t, redisstore.Config{Prefix: fmt.Sprintf("suite%d", n.Add(1))})
	})
}
