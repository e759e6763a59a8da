package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pointsman/internal/store/redisstore"
)

const patience = 5 * time.Second

// server is a redis-server of its own on a free loopback port.
type server struct {
	t       *testing.T
	address string
	args    []string
	process *exec.Cmd
	exited  chan error // takes what Wait returned
	output  *strings.Builder
}

// startServer starts a server and ends it at cleanup.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is missing: apt-get install redis-server")
	}
	// The port is free when it is chosen, but another process may take it before the server
	// does: then choose again.
	for range 5 {
		s := &server{t: t, address: freeAddress(t), args: args}
		if err := s.start(); err == nil {
			t.Cleanup(s.kill)
			return s
		} else if !strings.Contains(s.output.String(), "in use") {
			t.Fatalf("redis-server: %v\n%s", err, s.output)
		}
	}
	t.Fatal("no free port for redis-server")
	return nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start starts (or restarts) the server on its address and waits until it answers.
func (s *server) start() error {
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return err
	}
	args := []string{
		"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
		"--dir", s.t.TempDir(), "--enable-debug-command", "local",
	}
	s.output = &strings.Builder{}
	s.process = exec.Command("redis-server", append(args, s.args...)...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	// The server must not outlive a killed test binary.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	process := s.process
	s.exited = make(chan error, 1)
	go func() { s.exited <- process.Wait() }() // kill waits for it
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if answers(s.address) {
			return nil
		}
		select {
		case err := <-s.exited:
			s.process = nil
			return fmt.Errorf("ended early: %w", err)
		default:
		}
	}
	s.kill()
	return errors.New("did not answer")
}

// answers asks PING in the protocol itself. An error answer (-NOAUTH) is an answer too.
func answers(address string) bool {
	c, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 1)
	_, _ = c.Write([]byte("PING\r\n"))
	_, err = c.Read(buf)
	return err == nil
}

// kill ends the server by kill -9 and waits for it. Killing it twice is harmless.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	<-s.exited
	s.process = nil
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// do sends one command in the protocol itself, past the store, and returns its first line.
func (s *server) do(words ...string) string {
	s.t.Helper()
	line, _, _ := strings.Cut(s.bulk(words...), "\r\n")
	return line
}

// bulk returns the answer as it came, up to 4 KiB.
func (s *server) bulk(words ...string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	request := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		request += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.Write([]byte(request)); err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(buf[:n])
}

// open makes a store on the server and closes it at cleanup.
func (s *server) open(t *testing.T, c redisstore.Config) *redisstore.Store {
	t.Helper()
	c.Address = s.address
	r, err := redisstore.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
