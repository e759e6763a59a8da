package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/secret"
	"pointsman/internal/store/boltstore"
	"pointsman/internal/store/redisstore"
	"pointsman/providers"
	"pointsman/providers/fastly"
	"pointsman/purge"
)

// The variable that makes this test binary a node that only purges, with a short lease.
const purgerEnv = "POINTSMAN_TEST_PURGER"

// purger is such a node: its arguments are its name, its store, the Redis, the provider's API
// and the number of purges to accept. It prints the ID of each.
func purger(args []string) error {
	local, err := boltstore.Open(boltstore.Config{Path: args[1]})
	if err != nil {
		return err
	}
	defer local.Close()
	shared, err := redisstore.New(redisstore.Config{Address: args[2]})
	if err != nil {
		return err
	}
	defer shared.Close()
	provider, err := fastly.New(fastly.Config{Name: "acme", BaseURL: args[3],
		ServiceID: serviceID, Token: secret.New(token)})
	if err != nil {
		return err
	}
	s, err := purge.New(purge.Config{Node: args[0], Local: local, Shared: shared,
		Targets:     []purge.Target{{Provider: provider}},
		CallTimeout: time.Second, LeaseTTL: 3 * time.Second, Tick: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var run sync.WaitGroup
	var ended error
	run.Go(func() { ended = s.Run(ctx) })
	count := 0
	if _, err := fmt.Sscan(args[4], &count); err != nil {
		return err
	}
	for i := range count {
		st, err := s.Submit(ctx, purge.Request{Kind: providers.Tag,
			Items: []string{fmt.Sprintf("%s-%d", args[0], i)}})
		if err != nil {
			return errors.Join(err, ended)
		}
		fmt.Println("accepted", st.ID, st.Durability)
	}
	fmt.Println("all accepted")
	run.Wait()
	return ended
}

func startPurger(t *testing.T, f *fleet, name, api string, count int) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, name, []string{purgerEnv + "=1"}, self, name, filepath.Join(f.dir, name+".db"),
		f.redis, api, fmt.Sprint(count))
	await(t, 20*time.Second, name+" has accepted", func() bool {
		return strings.Contains(p.out.String(), "all accepted")
	})
	return p
}

// TestAnotherNodeDeliversWhatADeadOneAccepted kills a node that has acknowledged purges which
// its hanging way to the provider kept it from delivering. It does not come back.
func TestAnotherNodeDeliversWhatADeadOneAccepted(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	redis(t, f.redis, "")
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	startPurger(t, f, "b", f.api.URL, 0)
	a := startPurger(t, f, "a", silent.URL, 20)
	if n := strings.Count(a.out.String(), " replicated"); n != 20 {
		t.Fatalf("%d of 20 were replicated:\n%s", n, a.out.String())
	}
	a.kill()
	took := await(t, 30*time.Second, "b delivers them all", func() bool {
		for i := range 20 {
			if !f.purged(fmt.Sprintf("a-%d", i)) {
				return false
			}
		}
		return true
	})
	t.Logf("with a lease of 3 s b had delivered all 20 purges %s after a was killed", took)
}
