package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fence is one fenced block of a document.
type fence struct {
	doc, lang string
	line      int
	lines     []string
}

// fences lists the fenced blocks of a text, and returns the text without them.
func fences(doc, text string) (blocks []fence, prose string) {
	var out []string
	var open *fence
	for i, line := range strings.Split(text, "\n") {
		mark, ok := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case ok && open == nil:
			open = &fence{doc: doc, lang: mark, line: i + 2}
		case ok:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.lines = append(open.lines, line)
		default:
			out = append(out, line)
		}
	}
	return blocks, strings.Join(out, "\n")
}

// words splits a line of shell: quotes hold words together, # ends it, operators stand alone.
func words(line string) []string {
	var out []string
	var b strings.Builder
	var quote rune
	begun := false
	flush := func() {
		if begun {
			out = append(out, b.String())
		}
		b.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				b.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == '#' && !begun:
			return out
		case r == ' ' || r == '\t':
			flush()
		case strings.ContainsRune("|&;<>", r):
			flush()
			out = append(out, string(r))
		default:
			b.WriteRune(r)
			begun = true
		}
	}
	flush()
	return out
}

// calls finds the calls of our program in a line of shell, as lists of arguments.
func calls(line string) [][]string {
	var out [][]string
	var call []string
	in := false
	end := func() {
		if in {
			out = append(out, call)
		}
		call, in = nil, false
	}
	ws := words(line)
	for i, w := range ws {
		ours := strings.TrimPrefix(w, "./") == "pointsman" || strings.HasSuffix(w, "/bin/pointsman") ||
			(w == "./cmd/pointsman" && i >= 2 && ws[i-1] == "run" && ws[i-2] == "go")
		before := i == 0 || slices.Contains([]string{"|", "&", ";", "sudo", "exec", "run", "time", "$"}, ws[i-1]) ||
			strings.Contains(ws[i-1], "=") || ws[i-1] == "pointsman" && i == 1
		switch {
		case len(w) == 1 && strings.ContainsAny(w, "|&;<>"):
			end()
		case in:
			call = append(call, w)
		case ours && before:
			in, call = true, []string{}
		}
	}
	end()
	return out
}

// command is one subcommand as its help shows it.
type command struct {
	subs        []string
	flags       map[string]bool // whether it takes a value
	least, most int             // arguments
}

var flagLine = regexp.MustCompile(`^\s+(?:(-\w), )?\s*(--[\w-]+)(?: (\S+))?(?:\s{2,}|$)`)

// help asks the program itself about one subcommand.
func help(t *testing.T, cache map[string]*command, path []string) *command {
	t.Helper()
	name := strings.Join(path, " ")
	if c, ok := cache[name]; ok {
		return c
	}
	raw, err := exec.Command(binary(t), append(slices.Clone(path), "--help")...).Output()
	if err != nil {
		t.Fatalf("pointsman %s --help: %v", name, err)
	}
	c := parseHelp(string(raw), name)
	cache[name] = c
	return c
}

func parseHelp(text, name string) *command {
	c := &command{flags: map[string]bool{}}
	part := ""
	for _, line := range strings.Split(text, "\n") {
		if line != "" && line[0] != ' ' {
			part = line
			continue
		}
		switch {
		case part == "Flags:":
			if m := flagLine.FindStringSubmatch(line); m != nil {
				c.flags[m[2]] = m[3] != ""
				if m[1] != "" {
					c.flags[m[1]] = m[3] != ""
				}
			}
		case part == "Usage:":
			rest, ok := strings.CutPrefix(strings.TrimSpace(line), strings.TrimSpace("pointsman "+name))
			if ok {
				c.usage(strings.Fields(strings.NewReplacer("[flags]", "", "[command]", "").Replace(rest)))
			}
		case strings.HasSuffix(part, ":") && part != "Examples:" && strings.HasPrefix(line, "  "):
			if f := strings.Fields(line); len(f) > 1 {
				c.subs = append(c.subs, f[0])
			}
		}
	}
	return c
}

// usage reads how many arguments a command takes: BACKEND, [ID], [BACKEND ...].
func (c *command) usage(args []string) {
	least, most := 0, 0
	for _, a := range args {
		switch {
		case strings.HasPrefix(a, "..."):
			most = 1 << 10
		case strings.HasPrefix(a, "["):
			most++
		default:
			least, most = least+1, most+1
		}
	}
	c.least, c.most = max(c.least, least), max(c.most, most)
}

// checkCall says what is wrong with a call; loose ones, in prose, may leave arguments out.
func checkCall(t *testing.T, cache map[string]*command, args []string, loose bool) string {
	t.Helper()
	var path []string
	c := help(t, cache, nil)
	for len(args) > 0 && slices.Contains(c.subs, args[0]) {
		path, args = append(path, args[0]), args[1:]
		c = help(t, cache, path)
	}
	name := strings.TrimSpace("pointsman " + strings.Join(path, " "))
	given := 0
	for i := 0; i < len(args); i++ {
		a := args[i]
		if !strings.HasPrefix(a, "-") || a == "-" {
			given++
			continue
		}
		flag, _, inline := strings.Cut(a, "=")
		value, known := c.flags[flag]
		if !known {
			return name + " has no flag " + flag
		}
		if value && !inline {
			if i++; i >= len(args) && !loose {
				return name + " " + flag + " lacks its value"
			}
		}
	}
	if given > 0 && c.most == 0 {
		return name + " has no subcommand and takes no argument " + strings.Join(args, " ")
	}
	if given > c.most || !loose && given < c.least {
		return name + " does not take so many or so few arguments: " + strings.Join(args, " ")
	}
	return ""
}

// TestDocumentedCommandsExist holds every command of ours in the documents, in blocks of shell
// and in prose, to what the program's own help says.
func TestDocumentedCommandsExist(t *testing.T) {
	cache := map[string]*command{}
	inline := regexp.MustCompile("`(pointsman [^`]+)`")
	n := 0
	for _, doc := range documents(t) {
		blocks, prose := fences(doc, read(t, doc))
		for _, b := range blocks {
			if b.lang != "sh" {
				continue
			}
			for i, line := range strings.Split(strings.ReplaceAll(strings.Join(b.lines, "\n"), "\\\n", " "), "\n") {
				for _, args := range calls(line) {
					n++
					if bad := checkCall(t, cache, args, false); bad != "" {
						t.Errorf("%s:%d: %s", doc, b.line+i, bad)
					}
				}
			}
		}
		for _, m := range inline.FindAllStringSubmatch(prose, -1) {
			for _, args := range calls(strings.Join(strings.Fields(m[1]), " ")) {
				n++
				if bad := checkCall(t, cache, args, true); bad != "" {
					t.Errorf("%s: `%s`: %s", doc, m[1], bad)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("found %d commands: reading the documents is broken", n)
	}
}

func TestCallsAreFoundAndJudged(t *testing.T) {
	for line, want := range map[string][][]string{
		"go run ./cmd/pointsman status   # now":            {{"status"}},
		"./pointsman check a.yaml && sudo pointsman serve": {{"check", "a.yaml"}, {"serve"}},
		`pointsman drain x --reason 'a # b' | cat`:         {{"drain", "x", "--reason", "a # b"}},
		"ls /etc/pointsman; useradd pointsman":             nil,
		"X=1 /usr/local/bin/pointsman version":             {{"version"}},
	} {
		if d := cmp.Diff(want, calls(line)); d != "" {
			t.Errorf("%q (-want +got):\n%s", line, d)
		}
	}
	cache := map[string]*command{}
	for call, good := range map[string]bool{
		"drain fastly --for 2h --reason x": true, "drain --reason x": false, "drian fastly": false,
		"purge --url x --wait": true, "purge --uri x": false, "purge status": false,
		"probe --config f a b c": true, "weight a 5": true, "weight a": false,
		"drill begin --backend b": false, "check --strict f": true, "serve -c f": true,
	} {
		bad := checkCall(t, cache, strings.Fields(call), false)
		if (bad == "") != good {
			t.Errorf("pointsman %s: got %q", call, bad)
		}
	}
}

// TestScriptsThatDocumentsNameExist finds commands of the repository itself.
func TestScriptsThatDocumentsNameExist(t *testing.T) {
	for _, doc := range documents(t) {
		blocks, _ := fences(doc, read(t, doc))
		for _, b := range blocks {
			for _, line := range b.lines {
				for _, w := range words(line) {
					for _, dir := range []string{"test/", "deploy/", "./internal/", "./steering/",
						"./purge/", "./edge/", "./probes/", "docs/"} {
						rest, ok := strings.CutPrefix(w, dir)
						if !ok || b.lang != "sh" {
							continue
						}
						p := filepath.Join(root, dir, strings.TrimSuffix(rest, "..."))
						if _, err := os.Stat(p); err != nil {
							t.Errorf("%s:%d: %s does not exist", doc, b.line, w)
						}
					}
				}
			}
		}
	}
}

// slug is the anchor that a heading gets.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(heading)) {
		switch {
		case r == ' ':
			b.WriteRune('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f && r != '–':
			b.WriteRune(r)
		}
	}
	return b.String()
}

// anchors lists the anchors of a document's headings.
func anchors(text string) []string {
	_, prose := fences("", text)
	var out []string
	for _, line := range strings.Split(prose, "\n") {
		if head := strings.TrimLeft(line, "#"); head != line && strings.HasPrefix(head, " ") {
			out = append(out, slug(head))
		}
	}
	return out
}

// TestLinksOfTheDocumentsResolve follows every relative link, with its anchor.
func TestLinksOfTheDocumentsResolve(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	n := 0
	for _, doc := range documents(t) {
		_, prose := fences(doc, read(t, doc))
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			n++
			path := filepath.Join(filepath.Dir(doc), target)
			if target == "" {
				path = doc
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", doc, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(path, ".md") &&
				!slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s: %s has no section #%s", doc, path, anchor)
			}
		}
	}
	if n < 10 {
		t.Errorf("found %d links: reading the documents is broken", n)
	}
}

// TestDocumentsNameNoPlaceOfSomebodysMachine keeps out what means nothing to a reader.
func TestDocumentsNameNoPlaceOfSomebodysMachine(t *testing.T) {
	private := regexp.MustCompile(`/(?:work|root|home)/|/tmp/[a-z]`)
	for _, doc := range append(documents(t), "NOTICE") {
		for i, line := range strings.Split(read(t, doc), "\n") {
			if private.MatchString(line) {
				t.Errorf("%s:%d names somebody's folder: %s", doc, i+1, line)
			}
		}
	}
}
