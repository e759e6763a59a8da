package archtest

import (
	"fmt"
	"go/doc"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestTheArchitectureDocumentHoldsThePackageMap compares the table of packages with the rules
// that the build enforces, and with what the packages say of themselves.
func TestTheArchitectureDocumentHoldsThePackageMap(t *testing.T) {
	says := map[string]string{}
	for _, s := range parsed(t) {
		if s.file.Doc == nil || s.test {
			continue
		}
		sentence := new(doc.Package).Synopsis(s.file.Doc.Text())
		for _, lead := range []string{"Package " + s.file.Name.Name + " ", "Command pointsman "} {
			sentence = strings.TrimPrefix(sentence, lead)
		}
		says[s.pkg] = sentence
	}
	var b strings.Builder
	b.WriteString("| Package | What it does, in its own words | May import of ours |\n|---|---|---|\n")
	rules := allowed()
	for _, pkg := range slices.Sorted(maps.Keys(rules)) {
		if says[pkg] == "" {
			t.Errorf("package %s says nothing of itself", pkg)
		}
		may := "–"
		if len(rules[pkg]) > 0 {
			may = "`" + strings.Join(slices.Sorted(slices.Values(rules[pkg])), "` `") + "`"
		}
		if slices.Contains(rules[pkg], "*") {
			may = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", pkg, squeeze(says[pkg]), may)
	}
	holds(t, "docs/architecture.md", "package map", b.String())

	b.Reset()
	b.WriteString("| Library | Lives in |\n|---|---|\n")
	for _, lib := range slices.Sorted(maps.Keys(homes())) {
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", strings.TrimSuffix(lib, "/"),
			strings.Join(homes()[lib], "` `"))
	}
	holds(t, "docs/architecture.md", "libraries", b.String())
}
