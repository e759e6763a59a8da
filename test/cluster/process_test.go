package cluster_test

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pointsman/internal/admin/api"
)

// process is a child process. It ends with the test at the latest.
type process struct {
	name    string
	cmd     *exec.Cmd
	out     output
	started time.Time
	done    chan struct{} // closed when it has ended
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

func (o *output) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Len()
}

// since returns what was written after an offset.
func (o *output) since(offset int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf.Bytes()[offset:])
}

// launch starts a program.
func launch(t *testing.T, name, path string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = 2 * time.Second // grandchildren may hold the pipe open
	p.cmd.SysProcAttr = childAttributes()
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end(5 * time.Second)
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, tail(p.out.String(), 60))
		}
	})
	return p
}

// tail returns the last lines of a text.
func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end ends a process, politely at first.
func (p *process) end(limit time.Duration) {
	if !p.running() {
		return
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(limit):
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// kill ends a process as a power cut would.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks a process to stop, and fails the test unless it does so in time with exit code 0.
// It returns how long it took.
func (p *process) stop(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(limit):
		p.signal(syscall.SIGABRT) // its goroutines' stacks tell what hangs
		<-p.done
		t.Fatalf("%s did not stop within %v", p.name, limit)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s stopped with %d, want 0", p.name, code)
	}
	return time.Since(began)
}

// node is a pointsman process with its admin API.
type node struct {
	*process
	api *api.Client
}

// crash finds what a healthy process never writes.
var crash = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )|panicked`)

// serve starts a node and does not wait for it.
func serve(t *testing.T, name, config, admin string) *node {
	t.Helper()
	client, err := api.New(api.Config{BaseURL: "http://" + admin})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{api: client}
	t.Cleanup(func() { // after the process has ended: cleanups run backwards
		if found := crash.FindString(n.out.String()); found != "" {
			t.Errorf("%s wrote %q:\n%s", name, found, n.out.String())
		}
	})
	n.process = launch(t, name, binary, "serve", "--config", config)
	return n
}

// status reads the node's status; ok is false while nobody answers.
func (n *node) status() (api.Status, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := n.api.Status(ctx)
	return s, err == nil
}

// ready waits until the node is.
func (n *node) ready(t *testing.T) {
	t.Helper()
	await(t, 15*time.Second, n.name+" is ready", func() bool {
		if !n.running() {
			t.Fatalf("%s ended at its start", n.name)
		}
		s, ok := n.status()
		return ok && s.Ready
	})
}

// state is a backend's as the node holds it, or "".
func (n *node) state(backend string) string {
	s, _ := n.status()
	for _, b := range s.Backends {
		if b.Name == backend {
			return b.State
		}
	}
	return ""
}

// healthy waits until backends are.
func (n *node) healthy(t *testing.T, backends ...string) {
	t.Helper()
	for _, b := range backends {
		await(t, 20*time.Second, b+" is healthy", func() bool { return n.state(b) == "healthy" })
	}
}
