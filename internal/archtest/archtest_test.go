package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// source is one Go file of the module.
type source struct {
	path, pkg string // both relative to the root
	test      bool
	raw       []byte
	fset      *token.FileSet
	file      *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" ||
				rel == "tools" || rel == "tmpdeps") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, raw, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{path: rel, pkg: filepath.ToSlash(filepath.Dir(rel)), raw: raw,
			test: strings.HasSuffix(rel, "_test.go"), fset: fset, file: file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("found %d Go files: the walk is broken", len(out))
	}
	return out
}

func importsOf(s source) []string {
	var out []string
	for _, i := range s.file.Imports {
		out = append(out, strings.Trim(i.Path.Value, `"`))
	}
	return out
}

func TestPackagesImportOnlyWhatThePackageMapAllows(t *testing.T) {
	rules := allowed()
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.pkg, "test") {
			continue
		}
		may, listed := rules[s.pkg]
		if !listed {
			t.Errorf("%s: package %s is missing from the package map", s.path, s.pkg)
			continue
		}
		for _, i := range importsOf(s) {
			ours, ok := strings.CutPrefix(i, Module+"/")
			if !ok || ours == "internal/secret" || slices.Contains(may, "*") {
				continue
			}
			if !slices.Contains(may, ours) {
				t.Errorf("%s: %s must not import %s", s.path, s.pkg, ours)
			}
		}
	}
}

func TestEveryRuleOfThePackageMapNamesAPackageThatExists(t *testing.T) {
	have := map[string]bool{}
	for _, s := range sources(t) {
		have[s.pkg] = true
	}
	for pkg := range allowed() {
		if !have[pkg] {
			t.Errorf("the package map lists %s, which does not exist", pkg)
		}
	}
}

func TestLibrariesLiveInOneHome(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.pkg, "test") {
			continue
		}
		for _, i := range importsOf(s) {
			for lib, pkgs := range homes() {
				if !strings.HasPrefix(i, lib) {
					continue
				}
				if !slices.ContainsFunc(pkgs, func(p string) bool {
					return s.pkg == p || strings.HasPrefix(s.pkg, p+"/")
				}) {
					t.Errorf("%s: %s belongs to %v", s.path, i, pkgs)
				}
			}
		}
	}
}

func TestImportChainsAreShort(t *testing.T) {
	edges := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, i := range importsOf(s) {
			if ours, ok := strings.CutPrefix(i, Module+"/"); ok {
				if edges[s.pkg] == nil {
					edges[s.pkg] = map[string]bool{}
				}
				edges[s.pkg][ours] = true
			}
		}
	}
	var depth func(pkg string) int
	depth = func(pkg string) int {
		longest := 0
		for to := range edges[pkg] {
			longest = max(longest, 1+depth(to))
		}
		return longest
	}
	const most = 7
	for pkg := range edges {
		if d := depth(pkg); d > most {
			t.Errorf("the import chain below %s is %d long, more than %d", pkg, d, most)
		}
	}
}

func TestFilesLinesAndFunctionsStaySmall(t *testing.T) {
	const mostLines, mostColumns, mostFunction = 800, 120, 80
	// Straight lines: a table is no long function.
	straight := []string{"newScripts", "defaults"}
	for _, s := range sources(t) {
		lines := bytes.Split(s.raw, []byte("\n"))
		if len(lines) > mostLines {
			t.Errorf("%s has %d lines, more than %d", s.path, len(lines), mostLines)
		}
		for n, l := range lines {
			width := len([]rune(string(bytes.ReplaceAll(l, []byte("\t"), []byte("    ")))))
			if width > mostColumns && !s.test {
				t.Errorf("%s:%d is %d columns wide, more than %d", s.path, n+1, width, mostColumns)
			}
		}
		if s.test {
			continue // tests may hold long tables
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line
			if n > mostFunction && !slices.Contains(straight, f.Name.Name) {
				t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, mostFunction)
			}
		}
	}
}

func TestEveryExportedNameHasADocComment(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s has no doc comment", s.path, name)
			}
		}
	}
}

// undocumented lists the exported names of a declaration that say nothing of themselves. A
// comment on a group covers its members.
func undocumented(d ast.Decl) []string {
	var out []string
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !obvious(d) {
			out = append(out, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
					out = append(out, spec.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					if n.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						out = append(out, n.Name)
					}
				}
			}
		}
	}
	return out
}

func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if gen, ok := typ.(*ast.IndexExpr); ok {
		typ = gen.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// obvious names the methods whose meaning the standard library fixes.
func obvious(f *ast.FuncDecl) bool {
	return slices.Contains([]string{"Error", "String", "Unwrap", "ServeHTTP", "MarshalJSON",
		"UnmarshalJSON"}, f.Name.Name)
}

// TestGoroutinesHaveAnOwner finds bare go statements: goroutines start through WaitGroup.Go or
// an errgroup, whose owner waits for them.
func TestGoroutinesHaveAnOwner(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a bare go statement; use sync.WaitGroup.Go or errgroup",
					s.fset.Position(g.Pos()))
			}
			return true
		})
	}
}

// TestNoPackageKeepsMutableState finds init functions and package-level variables that change:
// those that are assigned to, or whose type is made to change. Tables that are only read stay.
func TestNoPackageKeepsMutableState(t *testing.T) {
	vars := map[string]map[string]bool{} // by package
	all := sources(t)
	for _, s := range all {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function", s.path)
			}
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				if changing(v) {
					t.Errorf("%s: package-level variable %s is made to change", s.path, v.Names[0].Name)
				}
				for _, n := range v.Names {
					if vars[s.pkg] == nil {
						vars[s.pkg] = map[string]bool{}
					}
					vars[s.pkg][n.Name] = true
				}
			}
		}
	}
	for _, s := range all {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			a, ok := n.(*ast.AssignStmt)
			if !ok || a.Tok == token.DEFINE {
				return true
			}
			for _, l := range a.Lhs {
				if name := rootOf(l); name != "_" && vars[s.pkg][name] {
					t.Errorf("%s: package-level variable %s is assigned to",
						s.fset.Position(a.Pos()), name)
				}
			}
			return true
		})
	}
}

// changing reports whether a variable's type or value exists to be changed.
func changing(v *ast.ValueSpec) bool {
	if sel, ok := v.Type.(*ast.SelectorExpr); ok {
		if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "sync" || pkg.Name == "atomic") {
			return true
		}
	}
	for _, val := range v.Values {
		switch val := val.(type) {
		case *ast.UnaryExpr:
			return val.Op == token.AND
		case *ast.CallExpr:
			if id, ok := val.Fun.(*ast.Ident); ok && (id.Name == "make" || id.Name == "new") {
				return true
			}
		}
	}
	return false
}

// rootOf is the identifier that an assignment's left side begins with.
func rootOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.IndexExpr:
		return rootOf(e.X)
	}
	return "_"
}

// TestNoTestSleeps keeps real time out of tests: inside a synctest bubble time is free, and
// elsewhere a test waits for a condition.
func TestNoTestSleeps(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		bubble := slices.Contains(importsOf(s), "testing/synctest")
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" || bubble {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
				t.Errorf("%s: time.Sleep outside of a synctest bubble", s.fset.Position(n.Pos()))
			}
			return true
		})
	}
}
