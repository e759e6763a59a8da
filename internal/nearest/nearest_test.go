package nearest_test

import (
	"strings"
	"testing"

	"pointsman/internal/nearest"
)

func TestTheNearestNameIsFound(t *testing.T) {
	names := []string{"alpha", "bravo", "charlie", "fastly", "min_healthy", "cdn.example.test"}
	for word, want := range map[string]string{
		"charly":                    "charlie",
		"Alpha":                     "alpha",
		"aplha":                     "alpha", // neighbours swapped
		"brvo":                      "bravo",
		"bravoo":                    "bravo",
		"minHealthy":                "min_healthy",
		"min-healthy":               "min_healthy",
		"cdn.exmaple.test":          "cdn.example.test",
		"nope":                      "",
		"a":                         "",
		"":                          "",
		strings.Repeat("alpha", 13): "",
	} {
		if got := nearest.Name(word, names); got != want {
			t.Errorf("for %q it is %q, want %q", word, got, want)
		}
	}
	if got := nearest.Name("cdn-c", []string{"cdn-a", "cdn-b"}); got != "cdn-a" {
		t.Errorf("of two equally near ones it is %q, want the first", got)
	}
	if got := nearest.Name("alpha", []string{"alpha"}); got != "" {
		t.Errorf("a name that is there was meant to be %q", got)
	}
}

func FuzzTheNearestNameIsOneOfTheNames(f *testing.F) {
	f.Add("charly", "charlie")
	f.Add("é", "e")
	f.Fuzz(func(t *testing.T, word, name string) {
		if got := nearest.Name(word, []string{name}); got != "" && got != name {
			t.Errorf("for %q of %q it is %q", word, name, got)
		}
	})
}
