package cookie

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/secret"
)

// Rota says from when on each of the keys that nodes share makes cookies; all of them are taken
// at any time. Its zero value has none. It is immutable.
//
// A key lives as RFC 9018 §5 asks: it is in the rota for Plan.Lead before it makes cookies, so
// that by then all nodes have read it; and it stays until the last cookie made with it is too old.
type Rota struct{ turns []turn }

// turn is a key and when it begins to make cookies.
type turn struct {
	key  Key
	from time.Time
}

// Plan is how keys are replaced.
type Plan struct {
	// Lifetime is how long one key makes cookies.
	Lifetime time.Duration
	// Lead is how long before its first cookie a key is made known.
	Lead time.Duration
}

// Step returns the rota as it should be, and whether it differs: without keys of which no cookie
// can be valid any more, and with a new one when there is none, or the last one's end is near.
// fresh is that new key.
func (r Rota) Step(now time.Time, p Plan, fresh Key) (Rota, bool) {
	turns := slices.Clone(r.turns)
	for len(turns) > 1 && now.Sub(turns[1].from) > validity+early+p.Lead {
		turns = turns[1:]
	}
	changed := len(turns) != len(r.turns)
	switch {
	case len(turns) == 0:
		turns, changed = append(turns, turn{fresh, now}), true
	case now.Sub(turns[len(turns)-1].from) >= p.Lifetime-p.Lead:
		turns, changed = append(turns, turn{fresh, now.Add(p.Lead)}), true
	}
	return Rota{turns}, changed
}

// Jar returns the jar for a time; nil when the rota has no key.
func (r Rota) Jar(now time.Time) *Jar {
	if len(r.turns) == 0 {
		return nil
	}
	current := 0
	for i, t := range r.turns {
		if !t.from.After(now) {
			current = i
		}
	}
	j := NewJar(r.turns[current].key)
	for i, t := range r.turns {
		if i != current {
			j.keys = append(j.keys, t.key)
		}
	}
	return j
}

// stored is a turn as it is kept.
type stored struct {
	Key  string    `json:"key"`
	From time.Time `json:"from"`
}

// Encode returns what Decode reads. It shows the keys: it is for the store alone.
func (r Rota) Encode() []byte {
	list := make([]stored, len(r.turns))
	for i, t := range r.turns {
		list[i] = stored{t.key.reveal(), t.from.UTC()}
	}
	raw, _ := json.Marshal(list) // plain values always marshal
	return raw
}

// maxTurns bounds what Decode takes.
const maxTurns = 16

// Decode reads a rota. Its error shows nothing of it.
func Decode(raw []byte) (Rota, error) {
	var list []stored
	if err := json.Unmarshal(raw, &list); err != nil {
		return Rota{}, errors.New("the cookie secrets are no list of keys")
	}
	if len(list) > maxTurns {
		return Rota{}, fmt.Errorf("%d cookie secrets are more than %d", len(list), maxTurns)
	}
	var r Rota
	for i, s := range list {
		key, err := ParseKey(secret.New(s.Key))
		if err != nil {
			return Rota{}, err
		}
		if i > 0 && s.From.Before(list[i-1].From) {
			return Rota{}, errors.New("the cookie secrets are not in the order of their use")
		}
		r.turns = append(r.turns, turn{key, s.From})
	}
	return r, nil
}
