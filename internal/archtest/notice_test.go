package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// module is a module whose code is linked into the program.
type module struct {
	Path, Version, Dir string
	files              []string // licences, sorted by name
	licence            string
	text, notice       string
}

// linked lists the third-party modules of the program for Linux, with their licences.
func linked(t *testing.T) []module {
	t.Helper()
	seen := map[string]module{}
	for _, arch := range []string{"amd64", "arm64"} {
		c := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/pointsman")
		c.Dir = root
		c.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("listing the program's packages: %v", err)
		}
		d := json.NewDecoder(strings.NewReader(string(out)))
		for {
			var p struct{ Module *module }
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Module != nil && p.Module.Version != "" {
				seen[p.Module.Path] = *p.Module
			}
		}
	}
	if len(seen) < 10 {
		t.Fatalf("found %d modules: the list is broken", len(seen))
	}
	var all []module
	for _, m := range seen {
		all = append(all, licensed(t, m))
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)

// licensed reads a module's licence from its source.
func licensed(t *testing.T, m module) module {
	t.Helper()
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		t.Fatalf("%s: %v", m.Path, err)
	}
	var kinds []string
	for _, e := range entries {
		name := e.Name()
		raw := ""
		if isNotice := strings.HasPrefix(strings.ToUpper(name), "NOTICE"); isNotice ||
			licenceFile.MatchString(name) {
			b, err := os.ReadFile(filepath.Join(m.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			raw = strings.TrimSpace(strings.ReplaceAll(string(b), "\r\n", "\n"))
			if isNotice {
				m.notice += raw + "\n"
				continue
			}
		}
		if raw == "" {
			continue
		}
		m.files = append(m.files, name)
		found := classify(raw)
		kinds = append(kinds, found...)
		if !slices.Equal(found, []string{"Apache-2.0"}) {
			m.text += raw + "\n"
		}
	}
	slices.Sort(kinds)
	m.licence = strings.Join(slices.Compact(kinds), " and ")
	return m
}

// classify names the licences of a text by the sentences that make them what they are.
func classify(text string) []string {
	flat := strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(flat, s) }
	var out []string
	if has("Apache License") && has("Version 2.0") {
		out = append(out, "Apache-2.0")
	}
	if has("Permission is hereby granted, free of charge, to any person obtaining a copy") {
		out = append(out, "MIT")
	}
	if has("Redistribution and use in source and binary forms") {
		if has("Neither the name") || has("may be used to endorse or promote") ||
			has("may not be used to endorse") {
			out = append(out, "BSD-3-Clause")
		} else {
			out = append(out, "BSD-2-Clause")
		}
	}
	if has("Permission to use, copy, modify, and/or distribute this software") ||
		has("Permission to use, copy, modify, and distribute this software for any purpose") {
		out = append(out, "ISC")
	}
	if has("This is free and unencumbered software released into the public domain") {
		out = append(out, "Unlicense")
	}
	if has("CC0 1.0 Universal") {
		out = append(out, "CC0-1.0")
	}
	for _, refused := range []string{"GNU GENERAL PUBLIC", "GNU LESSER", "GNU AFFERO",
		"Mozilla Public License", "Server Side Public License", "Business Source License",
		"Common Development and Distribution", "Eclipse Public License", "Commons Clause"} {
		if strings.Contains(strings.ToLower(flat), strings.ToLower(refused)) {
			out = append(out, refused)
		}
	}
	return out
}

func TestEveryLinkedModuleHasALicenceThatWeTake(t *testing.T) {
	good := []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0", "Unlicense", "CC0-1.0"}
	for _, m := range linked(t) {
		if m.licence == "" {
			t.Errorf("%s %s: no licence found in %v", m.Path, m.Version, m.files)
			continue
		}
		for _, l := range strings.Split(m.licence, " and ") {
			if !slices.Contains(good, l) {
				t.Errorf("%s %s is under %s, which is not one of %v", m.Path, m.Version, l, good)
			}
		}
	}
}

func TestLicencesAreToldApart(t *testing.T) {
	for text, want := range map[string][]string{
		"Apache License\n Version 2.0, January 2004":                             {"Apache-2.0"},
		"GNU GENERAL PUBLIC LICENSE Version 3":                                   {"GNU GENERAL PUBLIC"},
		"Mozilla Public License Version 2.0":                                     {"Mozilla Public License"},
		"Redistribution and use in source and\nbinary forms":                     {"BSD-2-Clause"},
		"Redistribution and use in source and binary forms. Neither the name of": {"BSD-3-Clause"},
		"all rights reserved":                                                    nil,
	} {
		if d := cmp.Diff(want, classify(text)); d != "" {
			t.Errorf("%q (-want +got):\n%s", text, d)
		}
	}
}

// TestTheNoticeIsUpToDate writes or compares NOTICE.
func TestTheNoticeIsUpToDate(t *testing.T) {
	var b strings.Builder
	b.WriteString("Pointsman\nCopyright the Pointsman authors\n\n" +
		"Licensed under the Apache License, Version 2.0; see LICENSE.\n\n" +
		"The program holds code of the Go standard library and runtime (Copyright The Go Authors,\n" +
		"BSD-3-Clause, the text as for golang.org/x/net below) and of these modules:\n\n")
	modules := linked(t)
	for _, m := range modules {
		fmt.Fprintf(&b, "  %s %s: %s\n", m.Path, m.Version, m.licence)
	}
	b.WriteString("\nIt also holds data with a licence of its own, whose text stands at the end:\n\n" +
		"  geo data (steering/geo/data): Number Resource Organization (NRO), Route Views, DB-IP,\n" +
		"  GeoNames, CC BY 4.0\n")
	b.WriteString("\nThe text of the Apache License, Version 2.0, stands in LICENSE. The other licences, and the\n" +
		"notices that come with modules, follow.\n")
	for _, m := range modules {
		if m.text == "" && m.notice == "" {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n%s %s\n%s\n", strings.Repeat("=", 72), m.Path, m.Version, strings.Repeat("=", 72))
		for _, part := range []string{m.notice, m.text} {
			if part != "" {
				b.WriteString("\n" + part)
			}
		}
	}
	fmt.Fprintf(&b, "\n%s\nsteering/geo/data\n%[1]s\n\n%s", strings.Repeat("=", 72),
		read(t, "steering/geo/data/LICENSE"))
	want := b.String()
	for _, host := range []string{"proxy.golang", "sum.golang", "pkg.go.dev", "goproxy", "npmjs",
		"pypi.org", "crates.io", "rubygems", "artifactory", "nexus"} {
		if strings.Contains(strings.ToLower(want), host) {
			t.Errorf("NOTICE would name %s", host)
		}
	}
	path := filepath.Join(root, "NOTICE")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, read(t, "NOTICE")); d != "" {
		t.Errorf("NOTICE is stale; run go test ./internal/archtest -update (-want +got):\n%s", d)
	}
}
