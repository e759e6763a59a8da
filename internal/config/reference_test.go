package config_test

import (
	"regexp"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v4"

	"pointsman/internal/config"
)

func TestTheReferenceExplainsEveryKey(t *testing.T) {
	got := config.Reference()
	rows := strings.Split(strings.TrimSpace(got), "\n")[2:]
	if len(rows) < 90 {
		t.Errorf("%d keys only", len(rows))
	}
	row := regexp.MustCompile("^\\| `([a-z0-9_.\\[\\]]+)` \\| [a-z ]+ \\| .* \\| .* \\| [^|]{10,} \\|$")
	for _, r := range rows {
		if !row.MatchString(r) {
			t.Errorf("says too little: %s", r)
		}
	}
	compareGolden(t, "testdata/reference.golden", got)
}

// TestEveryKeyOfTheExampleIsInTheReference reads the example with its comments taken away
// where they hold keys, so that what it shows commented out is covered too.
func TestEveryKeyOfTheExampleIsInTheReference(t *testing.T) {
	text := regexp.MustCompile(`(?m)^(\s*)# ( *(redis|tls|tokens|address|username|password_file`+
		`|prefix|-).*)$`).ReplaceAllString(example(t), "$1$2")
	var doc map[string]any
	if err := yaml.Load([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	reference, seen := config.Reference(), 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, sub := range v {
				at := strings.TrimPrefix(path+"."+key, ".")
				seen++
				if !strings.Contains(reference, "| `"+at+"` |") {
					t.Errorf("%s is in the example only", at)
				}
				walk(at, sub)
			}
		case []any:
			for _, item := range v {
				if _, ok := item.(map[string]any); ok {
					walk(path+"[]", item)
				}
			}
		}
	}
	walk("", doc)
	for _, path := range []string{"store.redis.tls.ca_file", "admin.tokens[].scopes"} {
		if !strings.Contains(reference, path) {
			t.Errorf("%s is missing", path)
		}
	}
	redis, _ := doc["store"].(map[string]any)["redis"].(map[string]any)
	admin, _ := doc["admin"].(map[string]any)
	if seen < 60 || redis["prefix"] == nil || admin["tokens"] == nil {
		t.Errorf("only %d keys were seen, or not those in comments", seen)
	}
}
