package store

import (
	"errors"
	"fmt"
	"time"
)

// Limits of keys, prefixes, log and lease names, holders, and of values.
const (
	MaxKeyBytes   = 512
	MaxValueBytes = 1 << 20
)

// ErrInvalid says that an argument breaks the contract (empty or unprintable key, value too
// big, lease without a term). It is the caller's mistake: retrying it can't help.
var ErrInvalid = errors.New("invalid argument")

// CheckKey returns an error wrapping ErrInvalid unless key is 1 to MaxKeyBytes bytes of
// printable ASCII. It is for key, log and lease names and for lease holders.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: empty name", ErrInvalid)
	}
	return CheckPrefix(key)
}

// CheckPrefix is CheckKey for prefixes, which may be empty.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKeyBytes {
		return fmt.Errorf("%w: name of %d bytes, at most %d", ErrInvalid, len(prefix), MaxKeyBytes)
	}
	for i := range len(prefix) {
		if prefix[i] < ' ' || prefix[i] > '~' {
			return fmt.Errorf("%w: name %q has an unprintable byte", ErrInvalid, prefix)
		}
	}
	return nil
}

// CheckValue returns an error wrapping ErrInvalid when value is above MaxValueBytes.
func CheckValue(value []byte) error {
	if len(value) > MaxValueBytes {
		return fmt.Errorf("%w: value of %d bytes, at most %d", ErrInvalid, len(value), MaxValueBytes)
	}
	return nil
}

// CheckLease returns an error wrapping ErrInvalid unless name and holder are keys and ttl is
// above 0.
func CheckLease(name, holder string, ttl time.Duration) error {
	if err := CheckKey(name); err != nil {
		return err
	}
	if err := CheckKey(holder); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("%w: lease for %v", ErrInvalid, ttl)
	}
	return nil
}
