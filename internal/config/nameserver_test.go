package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/config"
)

func TestCookieSecretsAreCheckedAndNeverShown(t *testing.T) {
	const good, other = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
	for _, c := range []struct{ about, dns, env, want string }{
		{"one", `{cookies: {secret_env: S}}`, "S=" + good, ""},
		{"two", `{cookies: {secret_env: S, previous_secret_env: P}}`, "S=" + good, ""},
		{"too short", `{cookies: {secret_env: S}}`, "S=" + good[:30], "32 hexadecimal digits"},
		{"no digits", `{cookies: {secret_env: S}}`, "S=" + good[:30] + "zz", "32 hexadecimal digits"},
		{"previous alone", `{cookies: {previous_secret_env: P}}`, "S=" + good, "no secret"},
		{"in the file", `{cookies: {secret: "` + good + `"}}`, "", "never in the file"},
		{"too long an NSID", `{nsid: "` + strings.Repeat("x", 65) + `"}`, "", "at most 64"},
		{"too long a version", `{version: "` + strings.Repeat("x", 256) + `"}`, "", "at most 255"},
		{"an agent that is none", `{report_agent: "a..b"}`, "", "not a host name"},
		{"a bound below 0", `{amplification: {unsigned: -1}}`, "", "too little"},
	} {
		got, _, err := config.Load(config.Options{Data: []byte("dns: " + c.dns + "\nroles: [admin]\n"),
			Env: []string{c.env, "P=" + other}})
		if c.want == "" && err != nil || c.want != "" &&
			(err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.about, err)
		}
		if err != nil && strings.Contains(err.Error(), good[:30]) {
			t.Errorf("%s: the error shows the secret: %v", c.about, err)
		}
		if err == nil && got.DNS.Cookies.Secret.Reveal() != good {
			t.Errorf("%s: the secret was not read", c.about)
		}
	}
}

func TestACookieSecretMayStandInAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("secret", "00112233445566778899aabbccddeeff\n")
	file := write("pointsman.yaml", "roles: [admin]\ndns: {cookies: {secret_file: secret}}\n")
	got, _, err := config.Load(config.Options{Path: file})
	if err != nil || got.DNS.Cookies.Secret.IsZero() {
		t.Errorf("%v", err)
	}
}
