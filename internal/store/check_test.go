package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pointsman/internal/store"
)

func TestNamesArePrintableASCIIOfBoundedLength(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a/b c~": true, strings.Repeat("k", store.MaxKeyBytes): true,
		"": false, strings.Repeat("k", store.MaxKeyBytes+1): false,
		"a\n": false, "\x1f": false, "\x7f": false, "é": false, "\xff": false,
	} {
		if err := store.CheckKey(name); (err == nil) != ok || !ok && !errors.Is(err, store.ErrInvalid) {
			t.Errorf("CheckKey(%.10q) = %v", name, err)
		}
	}
	if err := store.CheckPrefix(""); err != nil {
		t.Errorf("CheckPrefix of nothing = %v", err)
	}
}

func TestValuesAndLeasesHaveBounds(t *testing.T) {
	if err := store.CheckValue(make([]byte, store.MaxValueBytes)); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"value":  store.CheckValue(make([]byte, store.MaxValueBytes+1)),
		"name":   store.CheckLease("", "h", time.Second),
		"holder": store.CheckLease("l", "", time.Second),
		"term":   store.CheckLease("l", "h", -time.Second),
	} {
		if !errors.Is(err, store.ErrInvalid) {
			t.Errorf("a bad %s gave %v", what, err)
		}
	}
	if err := store.CheckLease("l", "h", 1); err != nil {
		t.Error(err)
	}
}
