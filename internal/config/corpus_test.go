package config_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

var update = flag.Bool("update", false, "rewrite testdata/bad.golden")

// corpusEnv is the environment that the corpus is loaded with.
func corpusEnv() []string {
	return []string{
		"FASTLY_TOKEN=canary-a", "CLOUDFLARE_TOKEN=canary-b", "EDGE_TOKEN=canary-c",
		"EMPTY_TOKEN=", "LINES_TOKEN=canary\nline", "BLANK_TOKEN= canary",
	}
}

// wanted reads testdata/bad.txt: a part of a finding for each file of the corpus.
func wanted(t testing.TB) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, part, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if ok && !strings.HasPrefix(line, "#") {
			want[name] = part
		}
	}
	return want
}

func TestEveryBadConfigIsRefusedWithItsPlaceAndReason(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := wanted(t)
	if len(files) < 200 || len(files) != len(want) {
		t.Errorf("%d files and %d expectations, want at least 200 of both", len(files), len(want))
	}
	var golden strings.Builder
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		cfg, report, err := config.Load(config.Options{
			Path: file, Name: name, Env: corpusEnv(),
		})
		var mistakes *config.Error
		if cfg != nil || !errors.As(err, &mistakes) {
			t.Errorf("%s: is not refused", name)
			continue
		}
		if want[name] == "" || !strings.Contains(err.Error(), want[name]) {
			t.Errorf("%s:\n%v\nwant %q in it", name, err, want[name])
		}
		if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret is shown:\n%v", name, err)
		}
		for _, m := range report.Mistakes {
			if m.Line < 1 || m.Col < 1 || m.File != name {
				t.Errorf("%s: has no place: %v", name, m)
			}
		}
		fmt.Fprintf(&golden, "%v\n", err)
	}
	compareGolden(t, "testdata/bad.golden", golden.String())
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got, rewrite with -update):\n%s", path, diff)
	}
}

func TestWhatCannotBeAConfigIsRefusedEarly(t *testing.T) {
	big := slices.Concat([]byte("node: a\n"), []byte(strings.Repeat("# ten megabytes\n", 655360)))
	cases := []struct {
		name, want string
		data       []byte
	}{
		{"ten megabytes", "x: is 10 MiB; the limit is 1 MiB", big},
		{"one byte too much", "x: is 1 MiB; the limit is 1 MiB",
			[]byte(strings.Repeat("#", 1<<20+1))},
		{"an executable", "x:1:1: is not text: a control byte 0x7f", []byte("\x7fELF\x02\x01")},
		{"a gzip file", "x:1:1: is not text: a control byte 0x1f", []byte("\x1f\x8b\x08")},
		{"a zero byte", "x:2:7: is not text: a control byte 0x00", []byte("a: 1\nnode: \x00")},
		{"Latin-1", "x:1:7: is not UTF-8 text: a stray byte 0xe9", []byte("node: \xe9t\xe9")},
		{"UTF-16", "x:1:1: is UTF-16, and UTF-8 is wanted", []byte("\xff\xfen\x00")},
		{"deep lists", "is nested too deeply: at most 32 levels",
			[]byte("node: " + strings.Repeat("[", 1<<19))},
		{"deep sections", "is nested too deeply: at most 32 levels",
			[]byte(strings.Repeat("{a: ", 1<<17))},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg, report, err := config.Load(config.Options{Data: c.data, Name: "x"})
			if cfg != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if len(report.Mistakes) != 1 {
				t.Errorf("%d mistakes, want one", len(report.Mistakes))
			}
		})
	}
}

func TestABigFileOnDiskIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.yaml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(10<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	_, _, err = config.Load(config.Options{Path: path, Name: "big.yaml"})
	if diff := cmp.Diff("big.yaml: is 10240 MiB; the limit is 1 MiB", fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}
