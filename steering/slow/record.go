package slow

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pointsman/internal/store"
	"pointsman/steering/control"
)

const (
	recordKey = "loop/record" // the guidance in force and what the next step needs
	leaseName = "loop/leader"
	seenKey   = "loop/seen/" // what each node measures
	// mostRecord bounds what a record may unpack to.
	mostRecord = 64 << 20
)

// record is what a leader leaves in the store.
type record struct {
	Node     string           `json:"node"` // the leader
	Guidance control.Guidance `json:"guidance"`
	State    State            `json:"state"`
}

// pack writes a value as compressed JSON.
func pack(v any) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(v); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return b.Bytes(), nil
}

// unpack reads what pack wrote.
func unpack(raw []byte, v any) error {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(z, mostRecord)).Decode(v)
	}
	if err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	return nil
}

// readRecord reads a record and its revision; nil when there is none.
func readRecord(ctx context.Context, s store.Store) (*record, uint64, error) {
	e, err := s.Get(ctx, recordKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var r record
	if err := unpack(e.Value, &r); err != nil {
		return nil, e.Revision, fmt.Errorf("%s: %w", recordKey, err)
	}
	r.State.Last = r.Guidance
	return &r, e.Revision, nil
}
