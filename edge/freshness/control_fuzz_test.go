package freshness_test

import (
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/edge/freshness"
)

// directive is the grammar of one directive, as RFC 9111 §5.2 has it, loosened as ParseControl
// documents: anything up to a comma is a name or an unquoted argument.
var directive = regexp.MustCompile(`^[ \t,]*([^=,]*)` +
	`(?:(=)(?:"((?s:[^"\\]|\\.)*)"[^,]*|([^,]*)))?(?:,|$)`)

// slowControl reads Cache-Control by a regular expression and big integers.
func slowControl(lines []string) freshness.Control {
	var c freshness.Control
	flags := map[string]*bool{
		"no-store": &c.NoStore, "public": &c.Public, "must-revalidate": &c.MustRevalidate,
		"proxy-revalidate": &c.ProxyRevalidate, "must-understand": &c.MustUnderstand,
		"only-if-cached": &c.OnlyIfCached,
	}
	deltas := map[string]*freshness.Delta{
		"max-age": &c.MaxAge, "s-maxage": &c.SMaxAge,
		"stale-while-revalidate": &c.StaleWhileRevalidate, "stale-if-error": &c.StaleIfError,
	}
	for _, line := range lines {
		for line != "" {
			m := directive.FindStringSubmatch(line)
			line = line[len(m[0]):]
			name := strings.ToLower(strings.Trim(m[1], " \t"))
			arg := strings.Trim(m[4], " \t")
			if m[3] != "" {
				arg = regexp.MustCompile(`(?s)\\(.)`).ReplaceAllString(m[3], "$1")
			}
			if f := flags[name]; f != nil {
				*f = true
			}
			if d := deltas[name]; d != nil {
				if n := slowDelta(arg); !d.Set || n < d.Seconds {
					*d = freshness.Delta{Seconds: n, Set: true}
				}
			}
			switch name {
			case "no-cache":
				c.NoCacheFields = append(c.NoCacheFields, slowFields(arg)...)
				c.NoCache = c.NoCache || len(slowFields(arg)) == 0
			case "private":
				c.PrivateFields = append(c.PrivateFields, slowFields(arg)...)
				c.Private = c.Private || len(slowFields(arg)) == 0
			}
		}
	}
	return c
}

func slowDelta(arg string) int64 {
	if !regexp.MustCompile(`^[0-9]+$`).MatchString(arg) {
		return 0
	}
	n, _ := new(big.Int).SetString(arg, 10)
	if n.Cmp(big.NewInt(1<<31)) > 0 {
		return 1 << 31
	}
	return n.Int64()
}

func slowFields(arg string) []string {
	var fields []string
	for _, f := range strings.Split(arg, ",") {
		if f = strings.Trim(f, " \t"); f != "" {
			fields = append(fields, strings.ToLower(f))
		}
	}
	return fields
}

func FuzzParseControlAgreesWithTheSlowReading(f *testing.F) {
	for _, s := range []string{
		"max-age=60", `max-age="6\0"`, `a="b, no-store`, `private="a, b", no-cache=""`, "=,=",
		"no-store ; x", `x="\`, "max-age = 5", "s-maxage=99999999999999", `x="a"b, public`,
	} {
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		lines := []string{a, b}
		if d := cmp.Diff(slowControl(lines), freshness.ParseControl(lines)); d != "" {
			t.Errorf("%q: (-slow +fast)\n%s", lines, d)
		}
	})
}

func FuzzParseDateRoundTrips(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT")
	f.Add("Sun Nov  6 08:49:37 1994")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := freshness.ParseDate(s, epoch)
		if !ok {
			return
		}
		again, ok := freshness.ParseDate(httpDate(got), epoch)
		if !ok || !again.Equal(got) {
			t.Errorf("%q is %v, and written anew %v", s, got, again)
		}
	})
}

func BenchmarkParseControl(b *testing.B) {
	lines := []string{"public, max-age=3600, stale-while-revalidate=60, stale-if-error=86400"}
	b.ReportAllocs()
	for b.Loop() {
		freshness.ParseControl(lines)
	}
}
