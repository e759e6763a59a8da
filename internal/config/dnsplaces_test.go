package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/config"
)

func TestPlacesThatTheNameserverCannotUseAreMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "log")
	for _, c := range []struct{ about, dns, want string }{
		{"a name to listen on", `{listen: ["127.0.0.1:0", "localhost:5300"]}`,
			`dns.listen[1]: "localhost:5300" begins with a name`},
		{"a directory for decisions", `{decision_log: {file: "` + dir + `"}}`,
			"is a directory"},
		{"a directory for dnstap", `{dnstap: {to: "file:` + dir + `"}}`,
			"is a directory"},
		{"one file for both", `{dnstap: {to: "file:` + file + `"}, decision_log: {file: "` + dir +
			`/./log"}}`, `is the file of dns.decision_log already`},
		{"two files", `{dnstap: {to: "file:` + file + `.tap"}, decision_log: {file: "` + file + `"}}`,
			""},
	} {
		t.Run(c.about, func(t *testing.T) {
			_, _, err := config.Load(config.Options{Name: "x", Data: []byte(small + "dns: " + c.dns)})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
