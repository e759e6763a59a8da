package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

// example returns the annotated example with its secret files moved to a folder of the test.
func example(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../../deploy/config/pointsman.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"fastly-token", "edge-token"} {
		err := os.WriteFile(filepath.Join(dir, name), []byte("canary-"+name+"\n"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(string(data), "/etc/pointsman/", dir+"/")
}

func TestTheExampleLoadsWithoutMistakes(t *testing.T) {
	cfg, report, err := config.Load(config.Options{
		Data: []byte(example(t)), Name: "pointsman.example.yaml",
		Env: []string{"CLOUDFLARE_TOKEN=canary-cloudflare"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]config.Finding(nil), report.Warnings); diff != "" {
		t.Errorf("the example has warnings (-want +got):\n%s", diff)
	}
	if got := cfg.Providers[1].Token.Reveal(); got != "canary-cloudflare" {
		t.Errorf("the token from the environment is %q", got)
	}
	if got := cfg.Providers[0].Token.Reveal(); got != "canary-fastly-token" {
		t.Errorf("the token from the file is %q", got)
	}
}
