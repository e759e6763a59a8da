package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
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
// is a string, bool, int, time.Duration or Bytes, normalised.
func parse(s *schema, raw string) (any, *complaint) {
	switch s.kind {
	case boolean:
		switch raw {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, complain("must be true or false, not %s", shown(raw))
	case number:
		n, c := parseNumber(raw)
		if c != nil {
			return nil, c
		}
		return n, bounded(s, n, parseNumber)
	case duration:
		d, c := parseDuration(raw)
		if c != nil {
			return nil, c
		}
		if step, err := time.ParseDuration(s.step); err == nil && d%step != 0 {
			return nil, complain("%v is not a multiple of %s", d, s.step)
		}
		return d, bounded(s, d, parseDuration)
	case size:
		b, c := parseSize(raw)
		if c != nil {
			return nil, c
		}
		return b, bounded(s, b, parseSize)
	case text:
		return parseText(s, raw)
	}
	return nil, complain("cannot hold one value")
}

func parseText(s *schema, raw string) (any, *complaint) {
	if raw == "" {
		if s.required || s.syntax != "" || len(s.oneof) > 0 || s.secret != "" {
			return nil, complain("is empty")
		}
		return raw, nil
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, complain("holds a line break or another control character")
	}
	if len(s.oneof) > 0 {
		for _, word := range s.oneof {
			if raw == word {
				return raw, nil
			}
		}
		c := complain("%s is not one of %s", shown(raw), strings.Join(s.oneof, ", "))
		c.suggestion = nearest(raw, s.oneof)
		return nil, c
	}
	if s.syntax == "" {
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

// bounded checks v against the schema's min and max, which are read like values.
func bounded[T int | time.Duration | Bytes](
	s *schema, v T, read func(string) (T, *complaint),
) *complaint {
	if s.min == "" {
		return nil
	}
	least, _ := read(s.min)
	most, _ := read(s.max)
	switch {
	case v < least:
		return complain("%v is too little: from %s to %s", v, s.min, s.max)
	case v > most:
		return complain("%v is too much: from %s to %s", v, s.min, s.max)
	}
	return nil
}
