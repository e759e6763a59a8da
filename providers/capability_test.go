package providers_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/providers"
)

func caps() providers.Capabilities {
	return providers.Capabilities{
		Kinds: map[providers.Kind]providers.Capability{
			providers.URL:        {Native: true, Soft: true, MaxBatch: 2, Note: "one at a time"},
			providers.Tag:        {Native: true, MaxBatch: 3},
			providers.Prefix:     {Note: "use a tag"},
			providers.Everything: {Native: true, MaxBatch: 1},
		},
		Propagation: 150 * time.Millisecond, RepeatKey: true, Source: "a document",
	}
}

func TestCheckBatchRefusesWhatCannotBeSent(t *testing.T) {
	const u = "https://e.example/a"
	for _, c := range []struct {
		name  string
		batch providers.Batch
		class providers.Class // empty: accepted
		words string
	}{
		{"a URL", providers.Batch{Kind: providers.URL, Items: []string{u}}, "", ""},
		{"a soft URL", providers.Batch{Kind: providers.URL, Items: []string{u}, Soft: true}, "", ""},
		{"everything", providers.Batch{Kind: providers.Everything}, "", ""},
		{"a kind that is not native", providers.Batch{Kind: providers.Prefix,
			Items: []string{"e.example/"}}, providers.Unsupported, "use a tag"},
		{"a kind that is not declared", providers.Batch{Kind: providers.Host,
			Items: []string{"e.example"}}, providers.Unsupported, "cannot purge by host"},
		{"a kind that does not exist", providers.Batch{Kind: "all"}, providers.Invalid, "no such"},
		{"soft where only hard is", providers.Batch{Kind: providers.Tag, Items: []string{"a"},
			Soft: true}, providers.Unsupported, "soft"},
		{"an empty list", providers.Batch{Kind: providers.Tag}, providers.Invalid,
			"not everything"},
		{"everything with items", providers.Batch{Kind: providers.Everything,
			Items: []string{"a"}}, providers.Invalid, "no items"},
		{"too many", providers.Batch{Kind: providers.Tag, Items: strings.Split("abcd", "")},
			providers.TooLarge, "4 items, and one call takes 3"},
		{"not normalised", providers.Batch{Kind: providers.URL,
			Items: []string{"https://E.example/a"}}, providers.Invalid, "want \"" + u},
		{"a wildcard", providers.Batch{Kind: providers.URL, Items: []string{u + "*"}},
			providers.Invalid, "purge nothing"},
	} {
		err := providers.CheckBatch(caps(), c.batch)
		var e *providers.Error
		switch {
		case c.class == "" && err != nil, c.class != "" && !errors.As(err, &e):
			t.Errorf("%s: %v (%T)", c.name, err, err)
		case e != nil && (e.Class != c.class || !strings.Contains(e.Message, c.words)):
			t.Errorf("%s: %v: want %s with %q", c.name, e, c.class, c.words)
		}
	}
}

func TestNamedFillsInTheProviderOnce(t *testing.T) {
	err := providers.Named("first", providers.CheckBatch(caps(), providers.Batch{Kind: "x"}))
	err = providers.Named("second", err)
	var e *providers.Error
	if !errors.As(err, &e) || e.Provider != "first" {
		t.Errorf("%v: want the provider first", err)
	}
	if plain := errors.New("x"); !errors.Is(providers.Named("p", plain), plain) {
		t.Error("another error was changed")
	}
}

func TestTableShowsOneDeclarationToPeople(t *testing.T) {
	other := providers.Capabilities{Kinds: map[providers.Kind]providers.Capability{
		providers.Host: {Native: true, Soft: true, MaxBatch: 100},
	}, Confirms: true}
	got := providers.Table(map[string]providers.Capabilities{"b": caps(), "a": other})
	want := strings.TrimPrefix(`
| provider | url | prefix | host | tag | everything | propagation | status API | repeat key |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| a | - | - | hard, soft, 100 a call | - | - | not stated | yes | no |
| b | hard, soft, 2 a call (1) | - (2) | - | hard, 3 a call | hard | 150ms | no | yes |

1. b, url: one at a time
2. b, prefix: use a tag
`, "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
