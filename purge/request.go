package purge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pointsman/providers"
)

// Sentinels on which callers branch; compare with errors.Is.
var (
	// ErrInvalid says that the request itself is wrong. Nothing was journaled or sent.
	ErrInvalid = errors.New("invalid purge request")
	// ErrIdempotencyMismatch says that the key was used before for a different request.
	ErrIdempotencyMismatch = errors.New("idempotency key was used for another purge")
	// ErrJournal says that the node's own journal did not take the purge. It is not accepted;
	// if the write took effect all the same, it runs after the next start.
	ErrJournal = errors.New("purge journal refused the write")
	// ErrNotDurable says that the config demands a replicated purge and the shared store did
	// not take it. It is not accepted; it may run all the same if the store's answer was lost.
	ErrNotDurable = errors.New("purge could not be replicated")
	// ErrOverloaded says that too many purges are unfinished on this node.
	ErrOverloaded = errors.New("too many unfinished purges")
	// ErrNotFound says that no purge has that id, or that it is past its retention.
	ErrNotFound = errors.New("no such purge")
)

// Limits on one request. They keep a record, with the state of each of its batches, below the
// store's 1 MiB.
const (
	maxItems     = 1000
	maxItemBytes = 256 << 10 // of all items and verification URLs together
	maxBatches   = 2000      // calls, over all providers
	maxGrowth    = 350       // bytes that one batch's state adds to its record
	maxVerify    = 20        // verification URLs, and URLs looked at of a purge
	maxWord      = 512       // bytes of an actor, a reason or an idempotency key
	maxMistakes  = 10        // named in one error, and warnings in one status
)

// Request is what was asked. The zero value is invalid: Kind is always needed.
type Request struct {
	Kind providers.Kind `json:"kind"`
	// Items are what to purge: 1 to 1000, together at most 256 KiB; none for Everything.
	// Submit normalises and sorts them and drops repeats.
	Items []string `json:"items,omitempty"`
	// Soft asks to mark stale instead of evicting.
	Soft bool `json:"soft,omitempty"`
	// Providers names those to purge; empty means every configured one.
	Providers []string `json:"providers,omitempty"`
	// VerifyURLs are fetched to prove a purge that names no URL; at most 20. A URL purge is
	// proven by its own items.
	VerifyURLs []string `json:"verify_urls,omitempty"`
	// Actor and Reason say who asked, and why; for people. May be empty.
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
	// IdempotencyKey makes a repeated Submit return the first purge. Empty: no such guard.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// fingerprint is equal for requests that ask for the same effect. Who asked, and why, is no
// part of it: a retry by another job is still a retry.
func (r Request) fingerprint() string {
	same := Request{Kind: r.Kind, Soft: r.Soft}
	same.Items = r.Items // sorted already
	same.Providers = slices.Sorted(slices.Values(r.Providers))
	same.VerifyURLs = slices.Sorted(slices.Values(r.VerifyURLs))
	raw, _ := json.Marshal(same) // strings and bools always marshal
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// mistakes collects what is wrong with a request, all of it up to a limit.
type mistakes struct {
	found []error
	more  int
}

func (m *mistakes) addf(format string, args ...any) {
	if len(m.found) >= maxMistakes {
		m.more++
		return
	}
	m.found = append(m.found, fmt.Errorf(format, args...))
}

func (m *mistakes) err() error {
	if len(m.found) == 0 {
		return nil
	}
	all := m.found
	if m.more > 0 {
		all = append(all, fmt.Errorf("and %d more", m.more))
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(all...))
}

// normalise returns the request as it will be journaled, or ErrInvalid with every mistake.
// known are the names of the configured providers.
func normalise(r Request, known []string) (Request, error) {
	var m mistakes
	if !slices.Contains(providers.Kinds(), r.Kind) {
		m.addf("kind: %q is none of %v", r.Kind, providers.Kinds())
		return Request{}, m.err()
	}
	r.Items = normaliseItems(&m, r.Kind, r.Items)
	r.VerifyURLs = normaliseEach(&m, "verify_urls", providers.NormalizeURL, r.VerifyURLs)
	if len(r.VerifyURLs) > maxVerify {
		m.addf("verify_urls: %d given, at most %d", len(r.VerifyURLs), maxVerify)
	}
	if n := size(r.Items) + size(r.VerifyURLs); n > maxItemBytes {
		m.addf("items: %d bytes, at most %d in one purge; send several", n, maxItemBytes)
	}
	r.Providers = checkProviders(&m, r.Providers, known)
	for name, word := range map[string]string{
		"actor": r.Actor, "reason": r.Reason, "idempotency_key": r.IdempotencyKey,
	} {
		if len(word) > maxWord {
			m.addf("%s: %d bytes, at most %d", name, len(word), maxWord)
		}
	}
	if err := m.err(); err != nil {
		return Request{}, err
	}
	return r, nil
}

func normaliseItems(m *mistakes, kind providers.Kind, items []string) []string {
	if kind == providers.Everything {
		if len(items) > 0 {
			m.addf("items: a purge of everything names no items, got %d", len(items))
		}
		return nil
	}
	if len(items) == 0 {
		m.addf("items: a purge by %s needs at least one", kind)
	}
	if len(items) > maxItems {
		m.addf("items: %d given, at most %d in one purge; send several", len(items), maxItems)
		return nil
	}
	normal := func(raw string) (string, error) { return providers.Normalize(kind, raw) }
	// Sorted, so that requests for the same effect are cut alike on every node.
	return slices.Sorted(slices.Values(normaliseEach(m, "items", normal, items)))
}

// normaliseEach normalises and drops repeats; order is kept.
func normaliseEach(
	m *mistakes, path string, normal func(string) (string, error), raw []string,
) []string {
	seen := make(map[string]bool, len(raw))
	var out []string
	for i, item := range raw {
		clean, err := normal(item)
		if err != nil {
			m.addf("%s[%d]: %w", path, i, err)
			continue
		}
		if !seen[clean] {
			seen[clean] = true
			out = append(out, clean)
		}
	}
	return out
}

func checkProviders(m *mistakes, asked, known []string) []string {
	if len(known) == 0 {
		m.addf("providers: none is configured")
		return nil
	}
	var out []string
	for i, name := range asked {
		if !slices.Contains(known, name) {
			m.addf("providers[%d]: no provider %q, there are: %s",
				i, name, strings.Join(known, ", "))
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func size(items []string) int {
	n := 0
	for _, s := range items {
		n += len(s)
	}
	return n
}
