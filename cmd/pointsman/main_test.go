package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the golden output in testdata/script")

// TestMain makes this test binary the command pointsman of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pointsman": main})
}

// params are how a folder of scripts, or one of them, is run.
func params(t *testing.T, env map[string]string) testscript.Params {
	t.Helper()
	return testscript.Params{
		UpdateScripts: *update, RequireUniqueNames: true, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("IP", loopbackOf(filepath.Base(e.WorkDir)))
			for i, port := range freePorts(t, 5) {
				e.Setenv(fmt.Sprintf("P%d", i+1), strconv.Itoa(port))
			}
			for k, v := range env {
				e.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "occupy": occupy, "site": site, "lines": lines,
			"id": id, "signal": signalNode,
		},
	}
}

// loopbackOf gives each script of each running test a loopback address of its own, so that
// fixed ports never meet.
func loopbackOf(script string) string {
	sum := uint32(os.Getpid())
	for _, c := range script {
		sum = sum*31 + uint32(c)
	}
	return fmt.Sprintf("127.%d.%d.%d", 64+sum%100, sum/100%250+1, sum/25000%250+1)
}

// lastPort is the last port that freePorts gave away; each is given once in a process.
var lastPort atomic.Uint32

// freePorts finds ports that are free on all addresses of the demo's CDNs, edge and origin. They
// are below those that the system gives to connections, so that they stay free until used.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	lastPort.CompareAndSwap(0, uint32(10000+os.Getpid()%200*80))
	var ports []int
	for try := 0; len(ports) < n && try < 2000; try++ {
		port := 10000 + int(lastPort.Add(1))%20000
		if freeEverywhere(port) {
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		t.Fatalf("found %d free ports, want %d", len(ports), n)
	}
	return ports
}

func freeEverywhere(port int) bool {
	for last := 11; last <= 15; last++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%d", last, port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// exits runs a command that must end with this exit code: exits 2 pointsman drain.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ...")
	}
	got, err := 0, ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// until repeats a command until its output matches: until 'alpha .*healthy' pointsman status.
// The command's exit code does not matter; what matched is there for stdout and stderr.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND ...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		var out, errOut bytes.Buffer
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), &out, &errOut
		cmd.Env = os.Environ()
		for _, name := range []string{envAdmin, envTokenFile} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		_ = cmd.Run()
		if want.Match(out.Bytes()) || want.Match(errOut.Bytes()) {
			_, err1 := ts.Stdout().Write(out.Bytes())
			_, err2 := ts.Stderr().Write(errOut.Bytes())
			ts.Check(errors.Join(err1, err2))
			return
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("no output of %q matched %q within a minute; the last was:\n%s%s", args[1:],
				args[0], &out, &errOut)
		}
	}
}

// occupy holds an address until the script ends: occupy udp 127.0.0.1:5300.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: occupy tcp|udp ADDRESS:PORT")
	}
	var held interface{ Close() error }
	var err error
	if args[0] == "udp" {
		held, err = net.ListenPacket("udp", args[1])
	} else {
		held, err = net.Listen("tcp", args[1])
	}
	ts.Check(err)
	ts.Defer(func() { held.Close() })
}

// site serves a small site until the script ends and puts its URL into a variable. /healthz
// answers ok, /broken 503, below /forbidden/ all is refused; everything else is a page.
func site(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: site VARIABLE")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/forbidden/"):
			http.Error(w, `{"msg": "no"}`, http.StatusForbidden)
		case r.URL.Path == "/healthz":
			fmt.Fprintln(w, "ok")
		case r.URL.Path == "/broken":
			// What a server answers is shown to people: it must not reach their terminal as it is.
			w.Header().Set("X-Broken", "yes")
			http.Error(w, "\x1b[2Jbroken", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "a page")
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// lines checks that no line of the last output ends with blanks, and that none holds an escape
// code: what people paste into tickets.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: lines")
	}
	for _, stream := range []string{"stdout", "stderr"} {
		for line := range strings.Lines(ts.ReadFile(stream)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.TrimRight(line, " \t") != line || strings.ContainsAny(line, "\x1b\t\r") {
				ts.Fatalf("%s has blanks at the end of a line, or an escape code: %q", stream, line)
			}
		}
	}
}

// id takes what the group of a regular expression matches in the last output into a variable:
// id OVERRIDE 'undo (ov-[0-9a-f]+)'.
func id(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: id VARIABLE REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout") + ts.ReadFile("stderr"))
	if len(m) != 2 {
		ts.Fatalf("nothing matches %q with one group", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// signalNode sends SIGHUP to the last command in the background: signal HUP.
func signalNode(ts *testscript.TestScript, neg bool, args []string) {
	cmds := ts.BackgroundCmds()
	if neg || len(args) != 1 || args[0] != "HUP" || len(cmds) == 0 {
		ts.Fatalf("usage: signal HUP, with a command in the background")
	}
	ts.Check(cmds[len(cmds)-1].Process.Signal(syscall.SIGHUP))
}

// together runs scripts at the same time, however few processors there are: they wait far more
// than they work. (The parallel tests of package testing are as many as there are processors.)
type together struct {
	*testing.T
	runs *sync.WaitGroup
}

// Parallel implements testscript.T.
func (together) Parallel() {}

// Verbose implements testscript.T.
func (together) Verbose() bool { return testing.Verbose() }

// Run implements testscript.T.
func (t together) Run(name string, f func(testscript.T)) {
	t.runs.Go(func() {
		t.T.Run(name, func(sub *testing.T) { f(together{sub, &sync.WaitGroup{}}) })
	})
}

// runScripts runs scripts together and returns when the last has ended.
func runScripts(t *testing.T, p testscript.Params) {
	t.Helper()
	all := together{t, &sync.WaitGroup{}}
	testscript.RunT(all, p)
	all.runs.Wait()
}

// TestStories runs everything that takes its time, all at once.
func TestStories(t *testing.T) {
	var stories sync.WaitGroup
	for name, story := range map[string]func(*testing.T){
		"scripts that need no node": func(t *testing.T) { scriptsOf(t, "alone") },
		"scripts that serve":        func(t *testing.T) { scriptsOf(t, "serve") },
		"scripts on the demo":       scriptsOnTheDemo,
		"the README's commands":     readmeCommandsWork,
		"the live screen ended":     liveScreenEnds,
	} {
		stories.Go(func() { t.Run(name, story) })
	}
	stories.Wait()
}

func scriptsOf(t *testing.T, folder string) {
	p := params(t, nil)
	p.Dir = "testdata/script/" + folder
	runScripts(t, p)
}
