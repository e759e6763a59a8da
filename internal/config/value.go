package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pointsman/internal/nearest"
)

// complaint is a finding that has no place yet.
type complaint struct{ message, suggestion string }

func complain(format string, args ...any) *complaint {
	return &complaint{message: fmt.Sprintf(format, args...)}
}

// shown quotes what the operator wrote, cut to a length that fits a line.
func shown(s string) string {
	const most = 60
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}

// parse reads one value as the schema's type and checks choice, bounds and syntax. The result
// is a string, bool, int, time.Duration, Bytes or Price, normalised.
func parse(s *schema, raw string) (any, *complaint) {
	switch s.kind {
	case boolean:
		if raw != "true" && raw != "false" {
			return nil, complain("must be true or false, not %s", shown(raw))
		}
		return raw == "true", nil
	case number:
		return bounded(s, raw, parseNumber)
	case duration:
		return bounded(s, raw, parseDuration)
	case size:
		return bounded(s, raw, parseSize)
	case price:
		return bounded(s, raw, parsePrice)
	case text:
		return parseText(s, raw)
	}
	return nil, complain("cannot hold one value")
}

func parseText(s *schema, raw string) (any, *complaint) {
	switch {
	case raw == "":
		if s.required || s.syntax != "" || len(s.oneof) > 0 || s.secret != "" {
			return nil, complain("is empty")
		}
		return raw, nil
	case strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, complain("holds a line break or another control character")
	case len(s.oneof) > 0 && !slices.Contains(s.oneof, raw):
		c := complain("%s is not one of %s", shown(raw), strings.Join(s.oneof, ", "))
		c.suggestion = nearest.Name(raw, s.oneof)
		return nil, c
	case s.syntax == "":
		return raw, nil
	}
	normal, c := checkSyntax(s.syntax, raw)
	if c != nil {
		return nil, c
	}
	return normal, nil
}

func parseNumber(raw string) (int, *complaint) {
	n, err := strconv.Atoi(raw)
	if err != nil || strconv.Itoa(n) != raw {
		return 0, complain("must be a whole number, not %s", shown(raw))
	}
	return n, nil
}

func parseDuration(raw string) (time.Duration, *complaint) {
	if _, err := strconv.ParseFloat(raw, 64); err == nil {
		return 0, complain("a duration needs a unit: say %ss, or 500ms, 20s, 5m, 24h", raw)
	}
	if days, ok := strings.CutSuffix(raw, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return 0, complain("days are not a unit: say %dh", 24*n)
		}
	}
	d, err := time.ParseDuration(raw)
	if err != nil {
		return 0, complain("%s is not a duration such as 500ms, 20s, 5m or 24h", shown(raw))
	}
	return d, nil
}

func parseSize(raw string) (Bytes, *complaint) {
	b, err := ParseBytes(raw)
	if err != nil {
		return 0, complain("%s", err)
	}
	return b, nil
}

// bounded reads a value and checks it against the schema's min, max and step, which are read
// the same way.
func bounded[T int | time.Duration | Bytes | Price](
	s *schema, raw string, read func(string) (T, *complaint),
) (any, *complaint) {
	v, c := read(raw)
	if c != nil || s.min == "" {
		return v, c
	}
	least, _ := read(s.min)
	most, _ := read(s.max)
	switch {
	case v < least:
		return nil, complain("%v is too little: from %s to %s", v, s.min, s.max)
	case v > most:
		return nil, complain("%v is too much: from %s to %s", v, s.min, s.max)
	case s.step == "":
		return v, nil
	}
	if step, _ := read(s.step); v%step != 0 {
		return nil, complain("%v is not a multiple of %s", v, s.step)
	}
	return v, nil
}
