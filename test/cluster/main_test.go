package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binary is the path of the program under test. TestMain builds it once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pointsman-cluster-")
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

// lane is a part of loopback that one test has for itself: 127.a.b.0/24. Clients don't come
// from there (the kernel gives them 127.0.0.1), so their ports are in nobody's way.
type lane struct{ prefix string }

func newLane() lane {
	return lane{fmt.Sprintf("127.%d.%d.", 16+rand.IntN(238), rand.IntN(256))}
}

func (l lane) ip(n int) string { return fmt.Sprint(l.prefix, n) }

func (l lane) addr(n, port int) string { return net.JoinHostPort(l.ip(n), fmt.Sprint(port)) }

// port finds a port that is free for TCP and UDP, below those that the kernel hands out.
func (l lane) port(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		addr := l.addr(1, port)
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", addr)
		tcp.Close()
		if err != nil {
			continue
		}
		udp.Close()
		return port
	}
	t.Fatal("found no free port in 100 tries")
	return 0
}

// tool finds a program that the tests need. Nothing is skipped: without it they fail.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	t.Fatalf("%s is missing: apt-get install %s", name, debian)
	return ""
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

// pass lets time pass where its passing is what is tested.
func pass(d time.Duration) { <-time.After(d) }
