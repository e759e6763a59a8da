package cluster_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const userConfig = `node: drops
roles: [dns, admin]
user: nobody
state_dir: %s
dns: {listen: ["%s"]}
admin: {listen: "%s"}
zones:
  - name: example.test
    ns: [ns1.example.test, ns2.example.test]
    records:
      - {name: ns1, type: A, data: 192.0.2.1}
      - {name: ns2, type: A, data: 192.0.2.2}
      - {name: generation, type: TXT, data: '"%d"'}
`

// lowPort finds a port below 1024 that is free for TCP and UDP. Only root can look there.
func (l lane) lowPort(t *testing.T) int {
	t.Helper()
	for port := 1000; port > 900; port-- {
		tcp, err := net.Listen("tcp", l.addr(1, port))
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", l.addr(1, port))
		tcp.Close()
		if err == nil {
			udp.Close()
			return port
		}
	}
	t.Fatal("found no free port below 1000")
	return 0
}

// openFolder is a folder of the test's that every user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// usersProgram is the program under test where every user may run it.
func usersProgram(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openFolder(t), "pointsman")
	if err := os.WriteFile(path, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// threads reads what /proc says of every thread of a process: these keys alone, with the
// white space made one.
func threads(t *testing.T, pid int, keys ...string) map[string]map[string]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	out := map[string]map[string]string{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has just ended
		}
		says := map[string]string{}
		for _, line := range strings.Split(string(raw), "\n") {
			key, value, _ := strings.Cut(line, ":")
			for _, k := range keys {
				if k == key {
					says[k] = strings.Join(strings.Fields(value), " ")
				}
			}
		}
		out[f] = says
	}
	return out
}

// TestANodeThatRootStartsRunsAsItsUserAndKeepsPort53Alone starts the program with a port below
// 1024 when root runs the test. Anybody else sees that the key changes nothing for them.
func TestANodeThatRootStartsRunsAsItsUserAndKeepsPort53Alone(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	l, root := newLane(), os.Geteuid() == 0
	port, group := l.port(t), nobody.Gid
	uid, caps, nnp := fmt.Sprint(os.Getuid()), "0000000000000000", "0"
	if root {
		port, uid, caps, nnp = l.lowPort(t), nobody.Uid, "0000000000000400", "1"
	}
	dir, server, admin := openFolder(t), l.addr(1, port), l.addr(1, l.port(t))
	config, state := filepath.Join(dir, "pointsman.yaml"), filepath.Join(dir, "state")
	write := func(generation int) {
		t.Helper()
		text := fmt.Sprintf(userConfig, state, server, admin, generation)
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if root {
		owner, _ := strconv.Atoi(nobody.Uid)
		if err := os.Chown(state, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	old := binary
	binary = usersProgram(t)
	n := serve(t, "drops", config, admin)
	binary = old
	n.ready(t)

	want := map[string]string{"Uid": strings.Repeat(" "+uid, 4)[1:], "CapPrm": caps,
		"CapEff": caps, "NoNewPrivs": nnp}
	if root {
		want["Gid"], want["Groups"] = strings.Repeat(" "+group, 4)[1:], group
		want["CapInh"], want["CapBnd"], want["CapAmb"] = caps, caps, caps
	}
	var keys []string
	for k := range want {
		keys = append(keys, k)
	}
	all := func() {
		t.Helper()
		for file, have := range threads(t, n.cmd.Process.Pid, keys...) {
			if d := cmp.Diff(want, have); d != "" {
				t.Errorf("%s (-want +got):\n%s", file, d)
			}
		}
	}
	all()
	generation := func() string {
		a := newAsker("udp", server)
		defer a.close()
		m, err := a.ask("generation."+zone, dns.TypeTXT)
		if err != nil || len(m.Answer) != 1 {
			return fmt.Sprint(err, m)
		}
		return m.Answer[0].(*dns.TXT).Txt[0]
	}
	if got := generation(); got != "1" {
		t.Errorf("before the reload: %s", got)
	}
	write(2)
	n.signal(syscall.SIGHUP)
	await(t, 10*time.Second, "the reloaded config answers", func() bool { return generation() == "2" })
	all()
	if strings.Contains(n.out.String(), "running as root") {
		t.Error("the node warned that it runs as root")
	}
	n.stop(t, 20*time.Second)
}

// TestANodeThatCannotWorkAsItsUserSaysWhatToDo asks for each mistake that an operator makes.
// Where root is needed to make it, anybody else sees that their own start is no matter of it.
func TestANodeThatCannotWorkAsItsUserSaysWhatToDo(t *testing.T) {
	program := usersProgram(t)
	for name, c := range map[string]struct {
		user          string
		config, state os.FileMode
		wants         string
		code          int
	}{
		"no such user": {user: "nobody-of-that-name", config: 0o644, state: 0o777,
			wants: `there is no user "nobody-of-that-name" on this machine: useradd`, code: 2},
		"root": {user: "root", config: 0o644, state: 0o777,
			wants: `user "root" is root itself`, code: 2},
		"state": {user: "nobody", config: 0o644, state: 0o700,
			wants: "chown -R nobody:", code: 1},
		"config": {user: "nobody", config: 0o600, state: 0o700,
			wants: "user nobody may not read ", code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, l := openFolder(t), newLane()
			config, state := filepath.Join(dir, "pointsman.yaml"), filepath.Join(dir, "state")
			text := fmt.Sprintf(userConfig, state, l.addr(1, l.port(t)), l.addr(1, l.port(t)), 1)
			text = strings.Replace(text, "user: nobody\n", "user: "+c.user+"\n", 1)
			if err := os.WriteFile(config, []byte(text), c.config); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(state, c.state); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() != 0 {
				out, err := exec.Command(program, "check", config).CombinedOutput()
				if c.state == 0o700 && err != nil {
					t.Errorf("somebody who is not root: %v\n%s", err, out)
				}
				return
			}
			cmd := exec.Command(program, "serve", "--config", config)
			cmd.SysProcAttr = childAttributes()
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), c.wants) {
				t.Errorf("want %q, got:\n%s", c.wants, out)
			}
			if cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("ended with %v, want %d", err, c.code)
			}
		})
	}
}
