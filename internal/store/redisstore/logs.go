package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"pointsman/internal/store"
)

// readChunk bounds the records of one answer.
const readChunk = 128

// Append implements store.Store. Sequences follow the server's clock in microseconds.
func (s *Store) Append(ctx context.Context, log string, value []byte) (uint64, error) {
	err := store.CheckKey(log)
	if err == nil {
		err = store.CheckValue(value)
	}
	var sequence uint64
	if err == nil {
		var answer []any
		keys := []string{s.names.logs + log, s.names.clock}
		answer, err = s.run(ctx, s.scripts.add, keys, log, value, s.names.hints)
		if err == nil {
			sequence, err = outcome(answer)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("appending to log %q: %w", log, err)
	}
	return sequence, nil
}

// Read implements store.Store. A limit of 0 or less reads nothing.
func (s *Store) Read(
	ctx context.Context, log string, after uint64, limit int,
) ([]store.Record, error) {
	if err := store.CheckKey(log); err != nil {
		return nil, fmt.Errorf("reading log %q: %w", log, err)
	}
	var records []store.Record
	for len(records) < limit {
		want := min(limit-len(records), readChunk)
		chunk, err := s.readChunk(ctx, log, after, want)
		if err != nil {
			return nil, fmt.Errorf("reading log %q: %w", log, err)
		}
		records = append(records, chunk...)
		if len(chunk) < want {
			break
		}
		after = chunk[len(chunk)-1].Sequence
	}
	return records, nil
}

func (s *Store) readChunk(
	ctx context.Context, log string, after uint64, count int,
) ([]store.Record, error) {
	var messages []redis.XMessage
	err := s.call(ctx, func(ctx context.Context) (err error) {
		start := fmt.Sprintf("(%d-0", after)
		messages, err = s.client.XRangeN(ctx, s.names.logs+log, start, "+", int64(count)).Result()
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	records := make([]store.Record, 0, len(messages))
	for _, m := range messages {
		record, err := decodeMessage(m)
		if err != nil {
			return nil, fmt.Errorf("decoding record %q: %w", m.ID, err)
		}
		records = append(records, record)
	}
	return records, nil
}

func decodeMessage(m redis.XMessage) (store.Record, error) {
	number, ours := strings.CutSuffix(m.ID, "-0")
	value, ok := m.Values["v"].(string)
	if !ours || !ok || len(m.Values) != 1 {
		return store.Record{}, unavailable(errGarbage)
	}
	sequence, err := parseNumber(number)
	if err != nil {
		return store.Record{}, err
	}
	return store.Record{Sequence: sequence, Value: []byte(value)}, nil
}

// Trim implements store.Store.
func (s *Store) Trim(ctx context.Context, log string, through uint64) error {
	err := store.CheckKey(log)
	if err == nil {
		err = s.call(ctx, func(ctx context.Context) error {
			// MINID keeps what is at or above it; the record itself is <through>-0.
			least := strconv.FormatUint(through, 10) + "-1"
			return s.client.XTrimMinID(ctx, s.names.logs+log, least).Err()
		})
	}
	if err != nil {
		return fmt.Errorf("trimming log %q: %w", log, err)
	}
	return nil
}
