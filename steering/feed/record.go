package feed

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/store"
	"pointsman/steering"
)

const (
	keyPrefix = "feeds/"
	// life is how long a store keeps a record that nothing is added to: longer than the longest
	// Keep and than what has ended is shown.
	life = 72 * time.Hour
)

// record is what a store holds of one backend of one feed.
type record struct {
	Values []entry `json:"values"`
}

type entry struct {
	Field steering.Field `json:"field"`
	Host  string         `json:"host,omitempty"`
	Held
}

func recordKey(feed, backend string) string { return keyPrefix + feed + "/" + backend }

// encode writes a book's values of a backend; the same values give the same text.
func encode(b book, backend string) []byte {
	var r record
	for at, h := range b {
		if at.Backend == backend {
			r.Values = append(r.Values, entry{Field: at.Field, Host: at.Host, Held: h})
		}
	}
	slices.SortFunc(r.Values, func(x, y entry) int {
		return compareKeys(key{"", x.Field, x.Host}, key{"", y.Field, y.Host})
	})
	data, err := json.Marshal(r)
	if err != nil {
		return nil // times are within their bounds and all else is plain: it never happens
	}
	return data
}

// parseRecord reads an entry of a store and distrusts it: another program may have written it.
func parseRecord(e store.Entry) (feed, backend string, b book, err error) {
	feed, backend, ok := strings.Cut(strings.TrimPrefix(e.Key, keyPrefix), "/")
	if !ok || feed == "" || backend == "" {
		return "", "", nil, fmt.Errorf("reading %q: the key names no feed and backend", e.Key)
	}
	var r record
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return "", "", nil, fmt.Errorf("reading %q: %w", e.Key, err)
	}
	b = make(book, len(r.Values))
	for _, v := range r.Values {
		if !slices.Contains(Fields(), v.Field) || !within(v.Field, v.Value) ||
			!within(v.Field, v.Latest) || v.At.IsZero() || v.Heard.IsZero() {
			return "", "", nil, fmt.Errorf("reading %q: a value of field %q is none", e.Key, v.Field)
		}
		b[key{backend, v.Field, v.Host}] = v.Held
	}
	return feed, backend, b, nil
}

// within reports whether a value is one that a document could have given.
func within(field steering.Field, value uint64) bool {
	switch field {
	case steering.FieldUp, steering.FieldDrain:
		return value <= 1
	case steering.FieldWeight:
		return value <= steering.MostWeight
	}
	return value <= steering.MostRate*thousandths
}
