package nodes_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the path of the program under test. TestMain builds it once.
var binary string

// TestMain builds the program, unless this process is a node of the takeover test.
func TestMain(m *testing.M) {
	if os.Getenv(purgerEnv) != "" {
		if err := purger(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pointsman-nodes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pointsman")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "pointsman/cmd/pointsman")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// lane is a part of loopback that one test has for itself. Clients don't come from there (the
// kernel gives them 127.0.0.1), so their ports are in nobody's way.
type lane struct{ prefix string }

func newLane() lane {
	return lane{fmt.Sprintf("127.%d.%d.", 16+rand.IntN(238), rand.IntN(256))}
}

// address returns a free address of the lane.
func (l lane) address(t *testing.T, n int) string {
	t.Helper()
	s, err := net.Listen("tcp", fmt.Sprintf("%s%d:0", l.prefix, n))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Addr().String()
}

// process is a child process. It ends with the test at the latest.
type process struct {
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
}

// output is what a process has written. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// crash finds what a healthy process never writes.
var crash = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )|panicked`)

// launch starts a program with variables added to its environment.
func launch(t *testing.T, name string, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = 2 * time.Second // grandchildren may hold the pipe open
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end()
		text := p.out.String()
		if found := crash.FindString(text); found != "" {
			t.Errorf("%s wrote %q", name, found)
		}
		if t.Failed() {
			t.Logf("the end of %s's output:\n%s", name, text[max(0, len(text)-8000):])
		}
	})
	return p
}

// environ is this process's environment, with a race detector that doesn't wait a second for
// other goroutines' races at every exit.
func environ() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=20") }

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// end ends a process, politely at first.
func (p *process) end() {
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends a process as a power cut would.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// command runs the program to its end and returns what it wrote and its exit code.
func command(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append(environ(), env...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatalf("running %v: %v", args, err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// redis starts Debian's redis-server and waits until it answers.
func redis(t *testing.T, address, password string) *process {
	t.Helper()
	path := ""
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, "redis-server")); err == nil && !info.IsDir() {
			path = filepath.Join(dir, "redis-server")
			break
		}
	}
	if path == "" {
		t.Fatal("redis-server is missing: apt-get install redis-server")
	}
	host, port, _ := net.SplitHostPort(address)
	args := []string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no",
		"--dir", t.TempDir()}
	if password != "" {
		args = append(args, "--requirepass", password)
	}
	p := launch(t, "redis", nil, path, args...)
	await(t, 10*time.Second, "redis listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// redisCommand sends a command in Redis's inline form and returns the first line of the answer.
func redisCommand(t *testing.T, address, line string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(buf[:n]))
}

// await waits until a condition holds, and fails the test when it does not in time. It
// returns how long it took.
func await(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// remains fails the test when a condition stops to hold within a time.
func remains(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(d)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(end) {
		if !holds() {
			t.Errorf("it did not remain so: %s", what)
			return
		}
		<-tick.C
	}
}
