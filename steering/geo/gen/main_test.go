package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/steering/geo"
)

// lists writes two lists of ranges into a folder.
func lists(t *testing.T, v4, v6 string) (path4, path6, out string) {
	t.Helper()
	dir := t.TempDir()
	path4, path6 = filepath.Join(dir, "4.csv"), filepath.Join(dir, "6.csv")
	for path, text := range map[string]string{path4: v4, path6: v6} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path4, path6, filepath.Join(dir, "out.geo")
}

func TestTheGeneratorPacksRangesWithoutSpecialPurposeOnes(t *testing.T) {
	v4, v6, out := lists(t, "192.0.1.0,192.0.3.255,DE\n192.0.4.0,192.0.4.255,DE\n", "2a00::,2a00:ffff::,AT\n")
	var said strings.Builder
	if err := run(v4, v6, "2026-06-17", "somewhere", out, &said); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "3 rows became 5 IPv4 and 3 IPv6 ranges of 2 countries") {
		t.Errorf("it says %q", said.String())
	}
	data, err := geo.Load(geo.Wants{Files: []string{out}})
	if err != nil {
		t.Fatal(err)
	}
	four, six := data.Locator.Ranges()
	if four != 5 || six != 3 || data.Locator.Origin() != "somewhere" ||
		data.Locator.Date().Format("2006-01-02") != "2026-06-17" {
		t.Errorf("packed are %d and %d ranges of %v from %q", four, six, data.Locator.Date(),
			data.Locator.Origin())
	}
}

func TestTheGeneratorNamesTheRowThatItDoesNotUnderstand(t *testing.T) {
	for text, want := range map[string]string{
		"1.0.0.0,1.0.0.9":                       "line 1: 2 fields",
		"1.0.0.0,1.0.0.9,DE\n1.0.1.0,x,DE":      "line 2: ParseAddr",
		"1.0.0.0,1.0.0.9,DE\n1.0.1.0,1.0.2.0,?": `line 2: range 1.0.1.0 to 1.0.2.0: "?" is not`,
	} {
		v4, v6, out := lists(t, text, "")
		err := run(v4, v6, "2026-06-17", "x", out, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	v4, v6, out := lists(t, "", "")
	for want, err := range map[string]error{
		"both -v4 and -v6": run("", v6, "2026-06-17", "x", out, &strings.Builder{}),
		"parsing -date":    run(v4, v6, "June", "x", out, &strings.Builder{}),
		"no ranges":        run(v4, v6, "2026-06-17", "x", out, &strings.Builder{}),
		"no such file":     run(v4+"x", v6, "2026-06-17", "x", out, &strings.Builder{}),
		"writing the table": func() error {
			a, b, _ := lists(t, "1.0.0.0,1.0.0.9,DE", "")
			return run(a, b, "2026-06-17", "x", "/dev/null/x", &strings.Builder{})
		}(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
