package nodes_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// clockEnv names the file by which a program of withClock is told the seconds that its wall clock
// is off.
const clockEnv = "POINTSMAN_TEST_CLOCK"

// withClock builds the program with a wall clock that can be set, as NTP or a VM that wakes up
// would. Monotonic time is left as it is. The system's own clock isn't touched.
func withClock(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	goroot := strings.TrimSpace(output1(t, "go", "env", "GOROOT"))
	module := strings.TrimSpace(output1(t, "go", "list", "-m", "-f", "{{.Dir}}"))
	original := filepath.Join(goroot, "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	changed := string(text)
	for _, edit := range [][2]string{
		{"import (\n", "import (\n\t\"sync/atomic\"\n"},
		{"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n",
			"var wallOffset atomic.Int64\n\n// SetWallOffset moves the wall clock by seconds.\n" +
				"func SetWallOffset(seconds int64) { wallOffset.Store(seconds) }\n\n" +
				"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += wallOffset.Load()\n"},
	} {
		if strings.Count(changed, edit[0]) != 1 {
			t.Fatalf("Go's time.go has changed: it has not one %q", edit[0])
		}
		changed = strings.Replace(changed, edit[0], edit[1], 1)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: write(t, dir, "time.go", changed),
		filepath.Join(module, "cmd", "pointsman", "clock_fault.go"): write(t, dir, "clock.go",
			clockSource),
	}})
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "pointsman")
	output1(t, "go", "build", "-overlay", write(t, dir, "overlay.json", string(overlay)),
		"-o", program, "pointsman/cmd/pointsman")
	return program
}

const clockSource = `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	read := func() {
		text, _ := os.ReadFile(os.Getenv("` + clockEnv + `"))
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			time.SetWallOffset(n)
		}
	}
	read()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			read()
		}
	}()
}
`

// setClock makes a node's wall clock differ by some seconds from the system's.
func (n *node) setClock(seconds int) {
	n.t.Helper()
	// Renamed, so that the node never reads half of it.
	part := write(n.t, filepath.Dir(n.config), n.vantage+".clock.part", strconv.Itoa(seconds))
	if err := os.Rename(part, n.clock()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) clock() string {
	return filepath.Join(filepath.Dir(n.config), n.vantage+".clock")
}

func write(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// output1 runs a command that must succeed, and returns what it wrote.
func output1(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			t.Logf("%s", e.Stderr)
		}
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}
