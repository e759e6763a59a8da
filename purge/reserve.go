package purge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"pointsman/internal/store"
)

// reservation is what stands under an idempotency key.
type reservation struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
}

// reserve binds the request's key to an id, on this node and in the shared store. It returns
// the id that is bound, and true when that purge exists already. A key that was bound without
// its purge, by a crash in between, is used again.
func (s *Service) reserve(ctx context.Context, req Request, id string) (string, bool, error) {
	want := reservation{ID: id, Fingerprint: req.fingerprint()}
	sum := sha256.Sum256([]byte(req.IdempotencyKey))
	key := keyPrefix + hex.EncodeToString(sum[:])
	if s.reachable() {
		var bound reservation
		err := s.call(ctx, func(ctx context.Context, in store.Store) error {
			var err error
			bound, err = s.bind(ctx, in, key, want)
			return err
		})
		if err == nil {
			want.ID = bound.ID
		}
		if err == nil && bound.Fingerprint != want.Fingerprint {
			return "", false, fmt.Errorf("%w: purge %s", ErrIdempotencyMismatch, bound.ID)
		}
	}
	bound, err := s.bind(ctx, s.cfg.Local, key, want)
	if err != nil {
		return "", false, s.journalError(ctx, "journaling the key of", want.ID, err)
	}
	if bound.Fingerprint != want.Fingerprint {
		return "", false, fmt.Errorf("%w: purge %s", ErrIdempotencyMismatch, bound.ID)
	}
	switch _, err := s.Get(ctx, bound.ID); {
	case err == nil:
		return bound.ID, true, nil
	case errors.Is(err, ErrNotFound):
		return bound.ID, false, nil
	default:
		return "", false, err
	}
}

// bind writes a reservation unless one stands there, and returns the one that stands.
func (s *Service) bind(
	ctx context.Context, in store.Store, key string, want reservation,
) (reservation, error) {
	raw, err := json.Marshal(want)
	if err != nil {
		return want, fmt.Errorf("encoding reservation: %w", err)
	}
	o := store.PutOptions{Expect: store.Expect(0), TTL: s.cfg.Retention}
	_, err = in.Put(ctx, key, raw, o)
	if !errors.Is(err, store.ErrConflict) {
		return want, err
	}
	e, err := in.Get(ctx, key)
	if err != nil {
		return want, err
	}
	var have reservation
	if err := json.Unmarshal(e.Value, &have); err != nil || !validID(have.ID) {
		return want, fmt.Errorf("%w: idempotency key %s", errUnreadable, key)
	}
	return have, nil
}
