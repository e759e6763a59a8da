// Package redisstore keeps the store contract on one Redis (7.0 or later) or Valkey (7.2 or
// later) that many nodes share, by go-redis.
//
// In flow keys, records and leases; out flow the same, refused when what the server holds is
// not what this package wrote. Each write is one Lua script, so it takes effect whole or not
// at all. A constructor starts nothing; the goroutine of a Watch ends with its context or at
// Close, which waits for it.
package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"pointsman/internal/secret"
	"pointsman/internal/store"
)

const (
	defaultPrefix  = "pointsman"
	defaultTimeout = 500 * time.Millisecond
)

// Config says where the server is and how long to wait for it.
type Config struct {
	// Address is host:port, or the absolute path of a unix socket.
	Address string
	// Username and Password authenticate (Redis ACL). Empty: no AUTH is sent.
	Username string
	Password secret.String
	// DB is the database number, 0 by default.
	DB int
	// Prefix begins every key and channel name, in braces, so that all of one prefix lie in
	// one cluster slot. Empty means "pointsman". Braces are not allowed in it.
	Prefix string
	// TLS, when not nil, encrypts the connection.
	TLS *tls.Config
	// Timeout bounds each round trip, connecting included. 0 means 500 ms.
	Timeout time.Duration
	// Logger receives what an operator must know. Nil discards it.
	Logger *slog.Logger
}

// Store satisfies store.Store. All methods are safe for concurrent use.
type Store struct {
	client  *redis.Client
	names   names
	scripts scripts
	timeout time.Duration
	log     *slog.Logger

	closing sync.Mutex // guards closed and the growth of busy
	closed  bool
	busy    sync.WaitGroup
	done    chan struct{}
}

var _ store.Store = (*Store)(nil)

// errGarbage says that the server holds something that this package did not write.
var errGarbage = errors.New("not a value of pointsman")

// New prepares a client. It opens no connection, so the server may be away; it returns an
// error only for a Config that can never work.
func New(c Config) (*Store, error) {
	if c.Address == "" {
		return nil, errors.New("preparing the Redis store: no address given")
	}
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if err := checkPrefix(c.Prefix); err != nil {
		return nil, fmt.Errorf("preparing the Redis store: prefix %q: %w", c.Prefix, err)
	}
	if c.DB < 0 || c.Timeout < 0 {
		return nil, errors.New("preparing the Redis store: negative database or timeout")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	// The library would print its own lines to stderr. Every error reaches our callers.
	logging.Disable()
	return &Store{
		client: redis.NewClient(options(c)), names: namesFor(c.Prefix),
		scripts: newScripts(),
		timeout: c.Timeout, log: c.Logger, done: make(chan struct{}),
	}, nil
}

func checkPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "{}") {
		return fmt.Errorf("%w: braces", store.ErrInvalid)
	}
	if len(prefix) > 64 {
		return fmt.Errorf("%w: above 64 bytes", store.ErrInvalid)
	}
	return store.CheckKey(prefix)
}

func options(c Config) *redis.Options {
	network := "tcp"
	if strings.HasPrefix(c.Address, "/") {
		network = "unix"
	}
	return &redis.Options{
		Network: network, Addr: c.Address, DB: c.DB, TLSConfig: c.TLS,
		Username: c.Username, Password: c.Password.Reveal(),
		// RESP2 serves every command used here, on every server and proxy.
		Protocol: 2,
		// The library repeats any command after a network error, which would append twice.
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
		PoolTimeout: c.Timeout, ContextTimeoutEnabled: true,
		// CLIENT SETINFO is unknown to Redis 7.0, maintenance notices to all but one vendor.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

// Ping returns an error wrapping ErrUnavailable unless the server answers in time.
func (s *Store) Ping(ctx context.Context) error {
	err := s.call(ctx, func(ctx context.Context) error { return s.client.Ping(ctx).Err() })
	if err != nil {
		return fmt.Errorf("pinging the Redis store: %w", err)
	}
	return nil
}

// Close ends all watches and connections. Calls after it return ErrUnavailable; closing twice
// is harmless.
func (s *Store) Close() error {
	s.closing.Lock()
	first := !s.closed
	s.closed = true
	s.closing.Unlock()
	if !first {
		return nil
	}
	close(s.done)
	s.busy.Wait()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("closing the Redis store: %w", err)
	}
	return nil
}

// call makes one round trip in at most the timeout. All errors but redis.Nil come back
// wrapping ErrUnavailable: the library's types go no further.
func (s *Store) call(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	trip, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := f(trip)
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	if over(ctx) && !errors.Is(err, context.DeadlineExceeded) {
		// The connection has the caller's deadline too and may notice it first.
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return unavailable(err)
}

// over reports whether the context's deadline has passed.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// run calls a script and returns its answer, which is always a list whose first element says
// how it went.
func (s *Store) run(
	ctx context.Context, script *redis.Script, keys []string, args ...any,
) ([]any, error) {
	var answer []any
	err := s.call(ctx, func(ctx context.Context) (err error) {
		answer, err = script.Run(ctx, s.client, keys, args...).Slice()
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	if len(answer) == 0 {
		return nil, unavailable(errors.New("empty answer of a script"))
	}
	return answer, nil
}

func unavailable(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
