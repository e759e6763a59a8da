package app

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/steering/cookie"
)

// holder holds the jar that a keeper handed out last.
type holder struct {
	mu  sync.Mutex
	jar *cookie.Jar
}

func (h *holder) use(j *cookie.Jar) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jar = j
}

func (h *holder) get() *cookie.Jar {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.jar
}

func (h *holder) bake() (option [cookie.Size]byte) {
	h.get().Make([]byte("12345678"), netip.IPv6Loopback(), time.Now(), &option)
	return option
}

func (h *holder) takes(option [cookie.Size]byte) bool {
	var out [cookie.Size]byte
	return h.get().Check(option[:], netip.IPv6Loopback(), time.Now(), &out) == cookie.Valid
}

// keepers runs a keeper for each store until the test's bubble stops it.
func keepers(t *testing.T, log *slog.Logger, stores ...store.Store) []*holder {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	var all []*holder
	for _, s := range stores {
		h := &holder{}
		k := newCookieKeeper(s, 24*time.Hour, h.use, log)
		wg.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		all = append(all, h)
	}
	return all
}

func TestNodesOfOneStoreTakeEachOthersCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(time.Now)
		nodes := keepers(t, slog.New(slog.DiscardHandler), shared, shared, shared)
		time.Sleep(cookiesPoll)
		synctest.Wait()
		first := nodes[0].bake()
		kept := map[string]bool{}
		for range 3 * 24 * 4 { // three days in quarters of an hour
			for i, maker := range nodes {
				for j, taker := range nodes {
					if !taker.takes(maker.bake()) {
						t.Fatalf("node %d does not take the cookie of node %d", j, i)
					}
				}
			}
			e, err := shared.Get(t.Context(), cookiesKey)
			if err != nil {
				t.Fatal(err)
			}
			kept[string(e.Value)] = true
			time.Sleep(15 * time.Minute)
			synctest.Wait()
		}
		if len(kept) < 4 || nodes[0].takes(first) {
			t.Errorf("the secrets were replaced %d times", len(kept)-1)
		}
	})
}

func TestWithoutTheStoreTheLastSecretsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var mu sync.Mutex
		log := slog.New(slog.NewTextHandler(locked{&mu, &b}, nil))
		faulty := storetest.NewFaulty(storetest.NewMemory(time.Now))
		nodes := keepers(t, log, faulty, faulty)
		time.Sleep(cookiesPoll)
		synctest.Wait()
		faulty.Down(true)
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if !nodes[0].takes(nodes[1].bake()) {
			t.Error("without the store nodes no longer take each other's cookies")
		}
		old := nodes[0].bake()
		faulty.Down(false)
		time.Sleep(cookiesLead + 2*cookiesPoll)
		synctest.Wait()
		if !nodes[0].takes(nodes[1].bake()) || !nodes[0].takes(old) {
			t.Error("with the store back nodes do not take each other's cookies")
		}
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(b.String(), "secrets lost"); n < 1 || n > 2 ||
			strings.Count(b.String(), "found again") != n {
			t.Errorf("the log does not say it once for each node:\n%s", b.String())
		}
	})
}

func TestWhatIsNoSecretStaysInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(time.Now)
		if _, err := shared.Put(t.Context(), cookiesKey, []byte("canary"), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		var mu sync.Mutex
		node := keepers(t, slog.New(slog.NewTextHandler(locked{&mu, &b}, nil)), shared)[0]
		time.Sleep(cookiesPoll)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !node.takes(node.bake()) || !strings.Contains(b.String(), cookiesKey) ||
			strings.Contains(b.String(), "canary") {
			t.Errorf("log:\n%s", b.String())
		}
		if e, err := shared.Get(t.Context(), cookiesKey); err != nil || string(e.Value) != "canary" {
			t.Errorf("%q, %v", e.Value, err)
		}
	})
}

func TestANodeAloneReplacesItsSecretToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := keepers(t, slog.New(slog.DiscardHandler), nil)[0]
		synctest.Wait()
		option := node.bake()
		time.Sleep(30 * time.Minute)
		if !node.takes(option) {
			t.Error("the cookie isn't taken after half an hour")
		}
		before := node.get()
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		var out [cookie.Size]byte
		from, now := netip.IPv6Loopback(), time.Now()
		before.Make([]byte("12345678"), from, now, &option)
		if node.get().Check(option[:], from, now, &out); out == option {
			t.Error("the secret was not replaced in a day")
		}
	})
}

// locked is a writer for several goroutines.
type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
