package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// runningDemo is a demo in this process, on ports that nobody else has.
type runningDemo struct {
	ip        string
	http, api int
	out       *syncBuffer
	stop      func() int // ends it and returns its exit code
}

func (d *runningDemo) admin() string { return d.ip + ":8053" }

// env is what the scripts know of the demo.
func (d *runningDemo) env() map[string]string {
	return map[string]string{"IP": d.ip, "POINTSMAN_ADMIN_URL": "http://" + d.admin(),
		"HTTP": strconv.Itoa(d.http), "API": strconv.Itoa(d.api), "ESC": "\x1b"}
}

// aDemo runs a demo until the test ends, and waits until all its backends are healthy.
func aDemo(t *testing.T) *runningDemo {
	t.Helper()
	ports := freePorts(t, 2)
	d := &runningDemo{ip: loopbackOf(t.Name()), http: ports[0], api: ports[1], out: &syncBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		code <- run(ctx, []string{"demo", "--plain", "--dns", d.ip + ":5300", "--admin", d.admin(),
			"--http-port", strconv.Itoa(d.http), "--api-port", strconv.Itoa(d.api)},
			strings.NewReader(""), d.out, d.out)
	})
	d.stop = sync.OnceValue(func() int { cancel(); wg.Wait(); return <-code })
	t.Cleanup(func() {
		if got := d.stop(); got != 0 {
			t.Errorf("the demo ended with %d:\n%s", got, d.out)
		}
	})
	wait(t, "all backends healthy", func() bool {
		var out bytes.Buffer
		run(ctx, []string{"status", "--admin", d.admin()}, nil, &out, io.Discard)
		return strings.Count(out.String(), " healthy ") == 5
	})
	return d
}

// wait waits for a condition, and fails the test when it does not come true within a minute.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited for a minute: %s", what)
		}
	}
}

// syncBuffer is a buffer that several goroutines may write to.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// scriptsOnTheDemo runs the scripts that share one demo, one after the other.
func scriptsOnTheDemo(t *testing.T) {
	d := aDemo(t)
	files, err := filepath.Glob("testdata/script/demo/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		p := params(t, d.env())
		p.Files = []string{file}
		runScripts(t, p)
	}
}

func TestADemoThatEndsLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	d := aDemo(t)
	wait(t, "five healthy backends on its own screen", func() bool {
		return strings.Count(d.out.String(), ": healthy, was unknown: ") == 5 &&
			strings.Contains(d.out.String(), "  alpha    target  70.0%  actual ")
	})
	if code := d.stop(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, d.out)
	}
	out := d.out.String()
	if !strings.HasSuffix(out, "\ndemo ended; nothing is left behind\n") {
		t.Errorf("its last words:\n%s", out[max(0, len(out)-300):])
	}
	if strings.ContainsAny(out, "\x1b\r") {
		t.Errorf("escape codes, and this is no terminal:\n%q", out)
	}
	for _, want := range []string{
		"  export POINTSMAN_ADMIN_URL=http://" + d.admin() + "\n",
		fmt.Sprintf("  dig @%s -p 5300 cdn.example.test +noall +answer\n", d.ip),
		fmt.Sprintf("  curl -X POST http://127.0.0.11:%d/demo/break ", d.api),
		" purge --url http://cdn.example.test/price.json --wait\n",
		" health   alpha: healthy, was unknown: 3 successes in a row",
		"  alpha    target  70.0%  actual ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo did not print %q:\n%s", want, out)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the folder for temporary files: %v, %v", left, err)
	}
	goleak.VerifyNone(t, before)
}
