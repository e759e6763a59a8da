package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
)

// corpus is where the bad configs are kept; every one is refused for one reason alone.
const corpus = "../../internal/config/testdata/bad"

// environ is what the corpus is loaded with. Some of it is planted: it must never be shown.
func environ() []string {
	return []string{
		"FASTLY_TOKEN=canary-a", "CLOUDFLARE_TOKEN=canary-b", "EDGE_TOKEN=canary-c",
		"EMPTY_TOKEN=", "LINES_TOKEN=canary\nline", "BLANK_TOKEN= canary",
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bad is a file that is no config.
type bad struct {
	name string
	data []byte
	want string // in one of the findings
	// whole says that the file as a whole is the mistake, which then has no line.
	whole bool
}

// collect reads the corpus and adds what is too big, or too odd, to be kept as a file.
func collect(t *testing.T) []bad {
	t.Helper()
	wants, err := os.ReadFile(filepath.Join(corpus, "../bad.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []bad
	for line := range strings.Lines(string(wants)) {
		name, want, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(corpus, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bad{name: name, data: data, want: want})
	}
	comments := func(n int) []byte { return bytes.Repeat([]byte("# ten MB\n"), n/9+1) }
	return append(all,
		bad{name: "nothing", want: "holds no configuration"},
		bad{name: "comments", data: comments(900), want: "holds no configuration"},
		bad{name: "10 MB", data: comments(10 << 20), want: "is 10 MiB; the limit is 1 MiB", whole: true},
		bad{name: "just too big", data: comments(1 << 20), want: "the limit is 1 MiB", whole: true},
		bad{name: "ELF", data: []byte("\x7fELF\x02\x01\x01"), want: ":1:1: is not text"},
		bad{name: "gzip", data: []byte("\x1f\x8b\x08\x00"), want: ":1:1: is not text"},
		bad{name: "zero byte", data: []byte("a: 1\nnode: \x00"), want: ":2:7: is not text"},
		bad{name: "escape code", data: []byte("node: \x1b[2J"), want: ":1:7: is not text"},
		bad{name: "Latin-1", data: []byte("node: caf\xe9"), want: ":1:10: is not UTF-8 text"},
		bad{name: "UTF-16", data: []byte("\xff\xfen\x00"), want: ":1:1: is UTF-16"},
		bad{name: "deep lists", data: bytes.Repeat([]byte("["), 1<<19), want: "nested too deeply"},
		bad{name: "deep sections", data: bytes.Repeat([]byte("{a: "), 1<<17), want: "nested too deeply"},
		bad{name: "many mistakes", data: []byte(strings.Repeat("b: [{c: 1}]\n", 5000)), want: "b: "},
		bad{name: "HTML", data: []byte("<html><body>404 Not Found</body></html>\n"), want: ":1:1: must be"},
		bad{name: "JSON list", data: []byte(`["node"]`), want: ":1:1: must be a section"},
		bad{name: "half a file", data: []byte(good("x", "192.0.2.1")[:400]), want: ""},
	)
}

// good is a config that serves one address for one name.
func good(dir, address string) string {
	return fmt.Sprintf(`node: n1
state_dir: %s
roles: [dns, admin]
dns: {listen: ["127.0.0.1:0"]}
admin: {listen: "127.0.0.1:0"}
zones:
  - name: example.test
    ns: [ns1.example.test, ns2.example.test]
    records:
      - {name: ns1, type: A, data: 192.0.2.51}
      - {name: ns2, type: A, data: 192.0.2.52}
hosts:
  - {name: cdn.example.test, ttl: 5s, pools: [main]}
pools:
  - {name: main, members: [{backend: main, weight: 1}]}
backends:
  - {name: main, addresses: [%s], probe: {url: "http://127.0.0.1:1/"}}
`, filepath.Join(dir, "state"), address)
}

// node is one that serves from a file which this test keeps breaking.
type node struct {
	path   string
	app    *app.App
	client *api.Client
	dns    *net.Resolver
	log    *log
}

// log is a log that can be read while it is written.
type log struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{path: filepath.Join(dir, "node.yaml"), log: &log{}}
	n.write(t, []byte(good(dir, "192.0.2.1")))
	a, err := app.New(t.Context(), app.Options{Path: n.path, Env: environ(), LogWriter: n.log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	t.Cleanup(func() { cancel(); runs.Wait() })
	n.app = a
	n.client, err = api.New(api.Config{BaseURL: "http://" + a.Addrs().Admin.String()})
	if err != nil {
		t.Fatal(err)
	}
	n.dns = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", a.Addrs().DNS[0].String())
	}}
	return n
}

// write replaces the config as an editor would: whole, by renaming.
func (n *node) write(t *testing.T, data []byte) {
	t.Helper()
	next := n.path + ".next"
	if err := errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, n.path)); err != nil {
		t.Fatal(err)
	}
}

// answer is what the node's nameserver says now.
func (n *node) answer(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got, err := n.dns.LookupHost(ctx, "cdn.example.test.")
	if err != nil {
		return err.Error()
	}
	return strings.Join(got, " ")
}

// hash is the configuration in force, as the node says.
func (n *node) hash(t *testing.T) string {
	t.Helper()
	s, err := n.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.ConfigHash
}

// build makes the program as people run it.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pointsman")
	out, err := exec.Command("go", "build", "-o", program, "pointsman/cmd/pointsman").CombinedOutput()
	if err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

// check runs `pointsman check` and returns its findings and exit code.
func check(t *testing.T, program, path string) (findings []string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(program, "check", path)
	cmd.Env = append(environ(), "PATH="+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(errOut.String(), "\n"), "\n")
	if lines[0] == "pointsman: config refused" {
		lines = lines[1:]
	}
	return lines, cmd.ProcessState.ExitCode()
}

// Every bad config is refused with its place and reason, by the command and by a node that is
// told to take it; and after each the old one is in force and answers.
func TestEveryBadConfigIsRefusedAndTheOldOneServesOn(t *testing.T) {
	program, all := build(t), collect(t)
	if len(all) < 200 {
		t.Fatalf("%d bad configs, want at least 200", len(all))
	}
	n := start(t)
	first := n.hash(t)
	place := regexp.MustCompile(`^` + regexp.QuoteMeta(n.path) + `:[1-9][0-9]*:[1-9][0-9]*: .`)
	for _, b := range all {
		n.write(t, b.data)
		found, code := check(t, program, n.path)
		if code != 2 {
			t.Errorf("%s: check ends with %d, want 2", b.name, code)
		}
		if !b.whole && !slices.ContainsFunc(found, place.MatchString) {
			t.Errorf("%s: no finding has a place:\n%s", b.name, strings.Join(found, "\n"))
		}
		if !strings.Contains(strings.Join(found, "\n"), b.want) {
			t.Errorf("%s: found\n%s\nwant %q", b.name, strings.Join(found, "\n"), b.want)
		}
		told := n.refused(t, b.name)
		if diff := cmp.Diff(shown(found), told); diff != "" {
			t.Errorf("%s: the command and the node disagree (-command +node):\n%s", b.name, diff)
		}
		if text := strings.Join(append(found, told...), "\n"); leaks(text) {
			t.Errorf("%s: a secret is shown:\n%s", b.name, text)
		}
		if hash := n.hash(t); hash != first {
			t.Fatalf("%s: config %s is in force, not %s", b.name, hash, first)
		}
		if got := n.answer(t); got != "192.0.2.1" {
			t.Fatalf("%s: the answer is %q now", b.name, got)
		}
	}
	if refusals := strings.Count(n.log.String(), "config refused, the old one serves on"); refusals < len(all) {
		t.Errorf("the log tells of %d refusals, want at least %d", refusals, len(all))
	}
	if leaks(n.log.String()) {
		t.Error("a secret is in the log")
	}
	n.recovers(t, first)
}

// leaks reports whether text holds what was planted in the environment or the corpus.
func leaks(text string) bool {
	return strings.Contains(text, "canary") || strings.Contains(text, "hunter2")
}

// shown are the findings that both the command and the API list, without what only a screen
// needs: the count of those that are too many to show.
func shown(findings []string) []string {
	return slices.DeleteFunc(slices.Clone(findings), func(f string) bool {
		return strings.HasPrefix(f, "… and ")
	})
}

// refused tells the node to read its config again and returns why it did not.
func (n *node) refused(t *testing.T, name string) []string {
	t.Helper()
	_, err := n.client.Reload(t.Context())
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != api.CodeRefused {
		t.Fatalf("%s: the node took it, or failed: %v", name, err)
	}
	return p.Findings
}

// recovers shows that the node was not deaf: the old config is no change, another one is.
func (n *node) recovers(t *testing.T, first string) {
	t.Helper()
	dir := filepath.Dir(n.path)
	n.write(t, []byte(good(dir, "192.0.2.1")))
	if r, err := n.client.Reload(t.Context()); err != nil || r.Changed || r.ConfigHash != first {
		t.Errorf("the old config again: %+v, %v", r, err)
	}
	n.write(t, []byte(good(dir, "192.0.2.2")))
	r, err := n.app.Reload(t.Context())
	if err != nil || r.ConfigHash == first {
		t.Errorf("a new config: %+v, %v", r, err)
	}
	if got := n.answer(t); got != "192.0.2.2" {
		t.Errorf("the new config answers %q", got)
	}
}

// A config that is gone, or is no file any more, changes nothing either.
func TestAConfigThatIsGoneChangesNothing(t *testing.T) {
	n := start(t)
	first := n.hash(t)
	for _, c := range []struct {
		name, want string
		do         func() error
	}{
		{"removed", "there is no such file", func() error { return os.Remove(n.path) }},
		{"a folder", "it is a directory", func() error { return os.Mkdir(n.path, 0o700) }},
		{"a link to itself", "too many levels of symbolic links", func() error {
			return errors.Join(os.Remove(n.path), os.Symlink(n.path, n.path))
		}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if told := strings.Join(n.refused(t, c.name), "\n"); !strings.Contains(told, c.want) {
			t.Errorf("%s: %q, want %q", c.name, told, c.want)
		}
		if n.hash(t) != first || n.answer(t) != "192.0.2.1" {
			t.Errorf("%s: config %s, answer %s", c.name, n.hash(t), n.answer(t))
		}
	}
	n.recovers(t, first)
}
