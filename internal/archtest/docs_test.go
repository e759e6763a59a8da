package archtest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update writes the generated parts of documents instead of comparing them:
// go test ./internal/archtest -update
var update = flag.Bool("update", false, "write the generated parts of the documents")

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// documents lists the Markdown files that people read, relative to the root.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rel)
		}
	}
	for _, must := range []string{"README.md", "docs/architecture.md", "docs/configuration.md",
		"docs/dns.md", "docs/metrics.md", "docs/operations.md", "docs/performance.md",
		"docs/purge.md", "docs/steering.md"} {
		if !slices.Contains(all, must) {
			t.Errorf("%s is missing", must)
		}
	}
	return all
}

// holds compares the part of a document between two markers with what the code says, or writes
// it with -update.
func holds(t *testing.T, path, part, want string) {
	t.Helper()
	text := read(t, path)
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", part), fmt.Sprintf("<!-- end %s -->", part)
	from := strings.Index(text, begin)
	to := strings.Index(text, end)
	if from < 0 || to < from {
		t.Fatalf("%s has no part between %q and %q", path, begin, end)
	}
	from += len(begin)
	want = "\n" + strings.TrimSpace(want) + "\n\n"
	if *update {
		whole := text[:from] + want + text[to:]
		if err := os.WriteFile(filepath.Join(root, path), []byte(whole), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, text[from:to]); d != "" {
		t.Errorf("%s: the part %q is stale; run go test ./internal/archtest -update "+
			"(-code +document):\n%s", path, part, d)
	}
}

var parsing struct {
	once sync.Once
	all  []source
}

// parsed is sources, read once for all tests of documents.
func parsed(t *testing.T) []source {
	t.Helper()
	parsing.once.Do(func() { parsing.all = sources(t) })
	return parsing.all
}

// squeeze makes a text fit into one cell of a table.
func squeeze(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

var building struct {
	once sync.Once
	dir  string
	err  error
}

// binary builds the program once and returns its path.
func binary(t *testing.T) string {
	t.Helper()
	building.once.Do(func() {
		if building.dir, building.err = os.MkdirTemp("", "pointsman-docs-"); building.err != nil {
			return
		}
		c := exec.Command("go", "build", "-o", filepath.Join(building.dir, "pointsman"),
			"./cmd/pointsman")
		c.Dir = root
		if out, err := c.CombinedOutput(); err != nil {
			building.err = fmt.Errorf("building the program: %w\n%s", err, out)
		}
	})
	if building.err != nil {
		t.Fatal(building.err)
	}
	return filepath.Join(building.dir, "pointsman")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if building.dir != "" {
		_ = os.RemoveAll(building.dir)
	}
	os.Exit(code)
}
