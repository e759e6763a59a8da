package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// quiet is how long a subscription may say nothing before it is asked for a sign of life.
	quiet = 5 * time.Second
	// The pause before subscribing again doubles from first to last.
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Watch implements store.Store. Every write publishes its key on one channel of the prefix;
// it needs no keyspace notifications. Each (re)connection signals too, since changes may have
// been missed before it. The channel is closed at Close too.
func (s *Store) Watch(ctx context.Context, prefix string) <-chan struct{} {
	out := make(chan struct{}, 1)
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		close(out)
		return out
	}
	s.busy.Go(func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s.busy.Go(func() {
			select {
			case <-s.done:
				cancel()
			case <-ctx.Done():
			}
		})
		s.watch(ctx, prefix, out)
	})
	return out
}

// watch subscribes again and again until ctx ends.
func (s *Store) watch(ctx context.Context, prefix string, out chan<- struct{}) {
	pause := firstPause
	for {
		heard, err := s.listen(ctx, prefix, out)
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause = firstPause
		}
		s.log.Debug("store watch interrupted", "err", err)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// listen holds one subscription until it breaks, and reports whether it ever stood.
func (s *Store) listen(ctx context.Context, prefix string, out chan<- struct{}) (bool, error) {
	connect, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	sub := s.client.Subscribe(connect)
	defer func() { _ = sub.Close() }()
	// Reading ignores cancellation: closing the connection is what ends it.
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()
	if err := sub.Subscribe(connect, s.names.hints); err != nil {
		return false, err
	}
	heard, asked := false, false
	wait := s.timeout // for the subscription's confirmation
	for {
		message, err := sub.ReceiveTimeout(ctx, wait)
		var netErr net.Error
		switch {
		case err == nil:
		case heard && !asked && errors.As(err, &netErr) && netErr.Timeout():
			if err := sub.Ping(ctx); err != nil {
				return heard, err
			}
			asked, wait = true, s.timeout
			continue
		default:
			return heard, err
		}
		heard, asked, wait = true, false, quiet
		if concerns(message, prefix) {
			select {
			case out <- struct{}{}:
			default: // one signal waits already
			}
		}
	}
}

// concerns reports whether a message says that keys under prefix may have changed. The
// confirmation of a subscription does: changes may have been missed before it.
func concerns(message any, prefix string) bool {
	switch m := message.(type) {
	case *redis.Message:
		return strings.HasPrefix(m.Payload, prefix)
	case *redis.Pong:
		return false
	}
	return true
}
