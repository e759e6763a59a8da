package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"pointsman/internal/store"
)

// listBudget bounds the bytes of one answer to List: the server serves nobody else meanwhile.
const listBudget = 1 << 20

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	entry, err := s.get(ctx, key)
	if err != nil {
		return store.Entry{}, fmt.Errorf("reading key %q: %w", key, err)
	}
	return entry, nil
}

func (s *Store) get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	var text string
	err := s.call(ctx, func(ctx context.Context) (err error) {
		text, err = s.client.Get(ctx, s.names.values+key).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return store.Entry{}, store.ErrNotFound
	}
	if err != nil {
		return store.Entry{}, err
	}
	return decode(key, text)
}

// decode reads "pm1 <revision> <length>\n<value>".
func decode(key, text string) (store.Entry, error) {
	head, value, ok := strings.Cut(text, "\n")
	fields := strings.Split(head, " ")
	if !ok || len(fields) != 3 || fields[0] != "pm1" {
		return store.Entry{}, unavailable(errGarbage)
	}
	revision, err := parseNumber(fields[1])
	if err != nil || fields[2] != strconv.Itoa(len(value)) {
		return store.Entry{}, unavailable(errGarbage)
	}
	return store.Entry{Key: key, Value: []byte(value), Revision: revision}, nil
}

// parseNumber reads a revision, sequence or token: decimal, above 0.
func parseNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || text[0] == '0' || text[0] == '+' {
		return 0, unavailable(errGarbage)
	}
	return n, nil
}

// Put implements store.Store. A TTL counts in whole milliseconds, rounded up.
func (s *Store) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	err := store.CheckKey(key)
	if err == nil {
		err = store.CheckValue(value)
	}
	var revision uint64
	if err == nil {
		var answer []any
		keys := []string{s.names.values + key, s.names.index, s.names.clock}
		answer, err = s.run(ctx, s.scripts.put, keys,
			key, value, expectation(o.Expect), milliseconds(o.TTL), s.names.hints)
		if err == nil {
			revision, err = outcome(answer)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("writing key %q: %w", key, err)
	}
	return revision, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, expect *uint64) error {
	err := store.CheckKey(key)
	if err == nil {
		var answer []any
		keys := []string{s.names.values + key, s.names.index}
		answer, err = s.run(ctx, s.scripts.remove, keys, key, expectation(expect), s.names.hints)
		if err == nil {
			_, err = outcome(answer)
		}
	}
	if err != nil {
		return fmt.Errorf("deleting key %q: %w", key, err)
	}
	return nil
}

// List implements store.Store. A long list takes several round trips, so entries far apart
// may be of different moments.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, fmt.Errorf("listing keys under %q: %w", prefix, err)
	}
	var list []store.Entry
	// Keys are printable ASCII, so no key under the prefix sorts after prefix‖0xff.
	from, to := "["+prefix, "("+prefix+"\xff"
	for from != "" {
		answer, err := s.run(ctx, s.scripts.list, []string{s.names.index},
			s.names.values, from, to, listBudget)
		if err == nil {
			list, from, err = appendPage(list, answer)
		}
		if err != nil {
			return nil, fmt.Errorf("listing keys under %q: %w", prefix, err)
		}
	}
	return list, nil
}

// appendPage adds the entries of one answer and returns where the next page begins, or "".
func appendPage(list []store.Entry, answer []any) ([]store.Entry, string, error) {
	if len(answer)%2 != 0 {
		return nil, "", unavailable(errGarbage)
	}
	text := make([]string, len(answer))
	for i, a := range answer {
		t, ok := a.(string)
		if !ok {
			return nil, "", unavailable(errGarbage)
		}
		text[i] = t
	}
	for i := 2; i < len(text); i += 2 {
		entry, err := decode(text[i], text[i+1])
		if err != nil {
			return nil, "", fmt.Errorf("decoding %q: %w", text[i], err)
		}
		list = append(list, entry)
	}
	if text[0] == "more" {
		return list, "(" + text[1], nil
	}
	return list, "", nil
}

// outcome reads what a writing script answered: {"ok", number}, {"ok"}, {"conflict",
// revision}, {"absent"} or {"held", holder}.
func outcome(answer []any) (uint64, error) {
	text := [2]string{}
	for i := range min(len(answer), len(text)) {
		text[i], _ = answer[i].(string)
	}
	switch text[0] {
	case "ok":
		if len(answer) == 1 {
			return 0, nil
		}
		return parseNumber(text[1])
	case "conflict":
		return 0, fmt.Errorf("%w: found %s", store.ErrConflict, text[1])
	case "absent":
		return 0, store.ErrNotFound
	case "held":
		return 0, fmt.Errorf("%w: %q", store.ErrHeld, text[1])
	}
	return 0, unavailable(errGarbage)
}

func expectation(expect *uint64) string {
	if expect == nil {
		return ""
	}
	return strconv.FormatUint(*expect, 10)
}

func milliseconds(ttl time.Duration) string {
	if ttl <= 0 {
		return ""
	}
	// Rounding up must not overflow, and the server refuses times past 2^63 ms.
	ms := ttl / time.Millisecond
	if ttl%time.Millisecond != 0 {
		ms++
	}
	return strconv.FormatInt(int64(ms), 10)
}
