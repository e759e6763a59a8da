package boltstore

import (
	"context"
	"strings"
	"sync"
)

// watchers holds the channels of the Watch calls under way.
type watchers struct {
	mu   sync.Mutex // guards open; held while sending, which never blocks
	open map[chan struct{}]string
}

func (w *watchers) add(prefix string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[chan struct{}]string{}
	}
	ch := make(chan struct{}, 1)
	w.open[ch] = prefix
	return ch
}

func (w *watchers) remove(ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, ch)
	close(ch)
}

func (w *watchers) notify(key string) {
	if key == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch, prefix := range w.open {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		select {
		case ch <- struct{}{}:
		default: // one signal waits already
		}
	}
}

// Watch implements store.Store. It sees the writes of this process, which is the only one
// that can have the file open; appending to a log signals under the log's name. The channel
// is closed at Close too.
func (s *Store) Watch(ctx context.Context, prefix string) <-chan struct{} {
	if err := s.enter(ctx); err != nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	ch := s.watchers.add(prefix)
	s.busy.Go(func() {
		defer s.busy.Done() // the call registered by enter
		defer s.watchers.remove(ch)
		select {
		case <-ctx.Done():
		case <-s.done:
		}
	})
	return ch
}
