package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"pointsman/internal/admin/api"
	"pointsman/internal/demo"
)

// busyScreen is a screen with much on it.
func busyScreen(width, height int) *demoModel {
	now := time.Now()
	m := &demoModel{width: width, height: height, view: demoView{
		clients: func() demo.ClientCounts { return demo.ClientCounts{Requests: 123456, Failed: 789} },
		toggle: func(n int) (string, bool, bool) {
			return fmt.Sprintf("cdn-%d", n), n == 0, n >= 0 && n < 3
		},
		ports: demo.DefaultPorts(), command: "go run ./cmd/pointsman",
	}}
	host := api.HostStatus{Host: "cdn.example.test"}
	var states []api.Backend
	for i, name := range []string{"alpha", "bravo", "charlie", "edge", "origin"} {
		host.Backends = append(host.Backends, api.BackendShare{Backend: name, Pool: "cdns", Target: 0.2})
		states = append(states, api.Backend{Name: name, LatencyMS: 12.5, LastSample: &now,
			State:  []string{"healthy", "degraded", "unhealthy", "unknown", "healthy"}[i],
			Reason: "3 failures in a row: \x1b[2Jstatus 503, want 200 to 299, and more words"})
	}
	var events []api.Event
	for i := range 20 {
		events = append(events, api.Event{Sequence: uint64(i + 1), At: now, Kind: "health",
			Message: strings.Repeat("something happened ", 9) + fmt.Sprint(i)})
	}
	m.Update(polled{status: api.Status{Hosts: []api.HostStatus{host}, Backends: states, Now: now,
		TableVersion: 7, TableCompiled: now.Add(-time.Minute)}, events: events})
	m.Update(tea.KeyPressMsg{Code: '1', Text: "1"})
	return m
}

func TestTheScreenFitsEveryTerminal(t *testing.T) {
	for _, size := range [][2]int{
		{80, 24}, {100, 30}, {200, 50}, {80, 25}, {120, 35}, {120, 36}, {64, 20}, {300, 90},
	} {
		m := busyScreen(size[0], size[1])
		text := m.View().Content
		lines := strings.Split(text, "\n")
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if w := lipgloss.Width(line); w > size[0] {
				t.Errorf("%v: %d columns: %s", size, w, line)
			}
		}
		for _, want := range []string{"Pointsman demo: cdn.example.test   table 7, compiled 1m ago",
			"clients: 123456 visits, 789 failed", "charlie", "unhealthy", "Last events", "q: end"} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: no %q in\n%s", size, want, text)
			}
		}
		if strings.Contains(text, "\x1b[2J") {
			t.Errorf("%v: what a server answered reached the terminal", size)
		}
		if size[0] >= 80 && size[1] >= 24 && !strings.Contains(text, "dig @127.0.0.1 -p 5300") {
			t.Errorf("%v: no commands to try", size)
		}
	}
}

// The screen must not break however small it is; there is nothing more to ask of that.
func TestTheScreenSurvivesEverySize(t *testing.T) {
	for width := range 60 {
		for _, height := range []int{0, 1, 5, 10, 29, 30, 36} {
			_ = busyScreen(width, height).View()
		}
	}
}

func TestTheUsualHintsFitEightyColumns(t *testing.T) {
	v := demoView{ports: demo.DefaultPorts(), command: "go run ./cmd/pointsman"}
	for _, h := range v.hints() {
		if len("  "+h) > 80 {
			t.Errorf("%d columns: %s", len(h)+2, h)
		}
	}
}

func TestKeysBreakHealAndEnd(t *testing.T) {
	m := busyScreen(80, 24)
	for key, want := range map[string]string{
		"1": "you broke cdn-0: it answers 503 now", "2": "you healed cdn-1",
	} {
		if cmd := m.key(key); cmd != nil || m.notice != want {
			t.Errorf("key %s: %q", key, m.notice)
		}
	}
	for _, key := range []string{"0", "4", "x", "enter"} {
		m.notice = ""
		if cmd := m.key(key); cmd != nil || m.notice != "" {
			t.Errorf("key %s did something: %q", key, m.notice)
		}
	}
	for _, key := range []string{"q", "ctrl+c"} {
		if cmd := m.key(key); cmd == nil || cmd() != (tea.QuitMsg{}) {
			t.Errorf("key %s does not end it", key)
		}
	}
}

func TestANodeThatDoesNotAnswerIsSaid(t *testing.T) {
	m := busyScreen(80, 24)
	m.Update(polled{err: io.ErrUnexpectedEOF})
	if text := m.View().Content; !strings.Contains(text, "the node does not answer: unexpected EOF") {
		t.Errorf("got\n%s", text)
	}
}

// terminal opens a pseudo-terminal of 80 by 24: what a person sits at, and what a program sees.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	size := unix.Winsize{Row: 24, Col: 80}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// liveScreenEnds shows that the live screen, ended in every way there is, gives the terminal back
// as it was and leaves nothing behind.
func liveScreenEnds(t *testing.T) {
	var all sync.WaitGroup
	defer all.Wait()
	for name, end := range map[string]func(person *os.File, p *os.Process) error{
		"with q":      func(person *os.File, _ *os.Process) error { _, err := person.WriteString("q"); return err },
		"with Ctrl-C": func(person *os.File, _ *os.Process) error { _, err := person.WriteString("\x03"); return err },
		"by SIGTERM":  func(_ *os.File, p *os.Process) error { return p.Signal(syscall.SIGTERM) },
		"by impatience": func(_ *os.File, p *os.Process) error {
			return errors.Join(p.Signal(syscall.SIGINT), p.Signal(syscall.SIGINT), p.Signal(syscall.SIGTERM),
				p.Signal(syscall.SIGINT))
		},
		"by SIGHUP": func(_ *os.File, p *os.Process) error { return p.Signal(syscall.SIGHUP) },
	} {
		all.Go(func() { t.Run(name, func(t *testing.T) { liveScreenEndsSo(t, end) }) })
	}
}

func liveScreenEndsSo(t *testing.T, end func(person *os.File, p *os.Process) error) {
	person, program := terminal(t)
	defer person.Close()
	before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ports, ip, dir := freePorts(t, 2), loopbackOf(t.Name()), t.TempDir()
	cmd := exec.Command("pointsman", "demo", "--dns", ip+":5300", "--admin", ip+":8053",
		"--http-port", fmt.Sprint(ports[0]), "--api-port", fmt.Sprint(ports[1]))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "TERM=xterm-256color")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen := &syncBuffer{}
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(screen, person) }) // until nobody has the other side
	// Only what changes is drawn again, so that a row never comes as one piece.
	wait(t, "the screen shows a backend and its state", func() bool {
		return strings.Contains(screen.String(), "alpha") &&
			strings.Contains(screen.String(), "healthy")
	})
	if err := end(person, cmd.Process); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%q", err, screen)
	}
	after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %v\n%+v\n%+v", err, before, after)
	}
	program.Close()
	reader.Wait()
	last := screen.String()
	if !strings.HasSuffix(last, "demo ended; nothing is left behind\r\n") {
		t.Errorf("the last words: %q", last[max(0, len(last)-200):])
	}
	last = last[strings.LastIndex(last, "\x1b[?1049h"):]
	if !strings.Contains(last, "\x1b[?1049l") || !strings.Contains(last, "\x1b[?25h") {
		t.Errorf("the alternate screen was not left, or the cursor stays hidden: %q", last)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
