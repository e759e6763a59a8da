package main

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"io"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	lgtable "charm.land/lipgloss/v2/table"

	"pointsman/internal/admin/api"
	"pointsman/internal/demo"
)

// demoPeriod is how often the demo's view asks the node.
const demoPeriod = 500 * time.Millisecond

// demoEvents is how many of the last events the screen shows.
const demoEvents = 8

// demoView shows a running demo. It is a client of the admin API like any other.
type demoView struct {
	demo   *demo.Demo
	client *api.Client
	ports  demo.Ports
	out    io.Writer
}

// hints are the commands to try next, made for the ports in use.
func (v demoView) hints() []string {
	dns := fmt.Sprintf("@%s -p %d", v.ports.DNS.Addr(), v.ports.DNS.Port())
	admin := ""
	if v.ports != demo.DefaultPorts() {
		admin = " --admin http://" + v.ports.Admin.String()
	}
	run := "go run ./cmd/pointsman "
	return []string{
		"dig " + dns + " cdn.example.test +noall +answer",
		"curl -si -H 'Host: cdn.example.test' http://$(dig " + dns +
			" +short cdn.example.test A | tail -1):" + strconv.Itoa(int(v.ports.HTTP)) + "/price.json",
		run + "status" + admin,
		run + "explain cdn.example.test --client 192.0.2.7" + admin,
		run + "purge --url http://cdn.example.test/price.json --wait" + admin,
		run + "drain alpha --for 1m --reason 'try it'" + admin,
		run + "drill start --backend alpha --for 20s" + admin,
		"curl -X POST http://127.0.0.11:" + strconv.Itoa(int(v.ports.API)) +
			"/demo/break     # and /demo/heal",
		"curl -s http://" + v.ports.Admin.String() + "/metrics | grep ^pointsman_",
		"the console: http://" + v.ports.Admin.String() + "/",
	}
}

// lines prints the hints once, then a line per backend and every event, until ctx ends.
func (v demoView) lines(ctx context.Context) error {
	fmt.Fprintln(v.out, "Pointsman demo. Try in another terminal:")
	for _, h := range v.hints() {
		fmt.Fprintln(v.out, "  "+h)
	}
	t := time.NewTicker(demoPeriod)
	defer t.Stop()
	var after uint64
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		s, events, err := v.poll(ctx, after)
		if err != nil {
			continue // the node is starting or stopping; its own Run tells if it is gone
		}
		for _, e := range events {
			after = e.Sequence
			fmt.Fprintf(v.out, "%s %-8s %s\n", e.At.Local().Format(time.TimeOnly), e.Kind, e.Message)
		}
		if n%10 == 1 {
			v.summary(s)
		}
	}
}

func (v demoView) summary(s api.Status) {
	for _, r := range rows(s) {
		fmt.Fprintf(v.out, "  %-8s target %6s  actual %6s  %-9s %8s\n", r[0], r[1], r[2], r[3], r[4])
	}
}

func (v demoView) poll(ctx context.Context, after uint64) (api.Status, []api.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := v.client.Status(ctx)
	if err != nil {
		return s, nil, err
	}
	events, err := v.client.Events(ctx, after)
	return s, events, err
}

// rows are the backends of the steered name: name, target, actual, state, latency, pool, why.
func rows(s api.Status) [][]string {
	byName := map[string]api.Backend{}
	for _, b := range s.Backends {
		byName[b.Name] = b
	}
	var out [][]string
	for _, h := range s.Hosts {
		for _, b := range h.Backends {
			d := byName[b.Backend]
			out = append(out, []string{b.Backend, percent(b.Target), percent(b.Actual), d.State,
				fmt.Sprintf("%.1fms", d.LatencyMS), b.Pool, d.Reason})
		}
	}
	return out
}

// screen runs the live screen until the user quits or ctx ends.
func (v demoView) screen(ctx context.Context) error {
	m := &demoModel{view: v, ctx: ctx, width: 100}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) || ctx.Err() != nil {
		return nil
	}
	return err
}

// demoModel is the screen's state. Bubbletea calls it from one goroutine. The context is kept
// for its commands alone, which have no other way to get one.
type demoModel struct {
	view   demoView
	ctx    context.Context
	status api.Status
	events []api.Event
	after  uint64
	notice string
	err    error
	width  int
}

type polled struct {
	status api.Status
	events []api.Event
	err    error
}

func (m *demoModel) Init() tea.Cmd { return m.tick() }

func (m *demoModel) tick() tea.Cmd {
	after := m.after
	return tea.Tick(demoPeriod, func(time.Time) tea.Msg {
		s, e, err := m.view.poll(m.ctx, after)
		return polled{s, e, err}
	})
}

// Update implements tea.Model.
func (m *demoModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	case polled:
		m.take(msg)
		return m, m.tick()
	}
	return m, nil
}

func (m *demoModel) take(p polled) {
	m.err = p.err
	if p.err != nil {
		return
	}
	m.status = p.status
	for _, e := range p.events {
		m.after = e.Sequence
		m.events = append(m.events, e)
	}
	m.events = m.events[max(0, len(m.events)-demoEvents):]
}

func (m *demoModel) key(k string) tea.Cmd {
	if k == "q" || k == "ctrl+c" {
		return tea.Quit
	}
	if n, err := strconv.Atoi(k); err == nil {
		if name, broken, ok := m.view.demo.Toggle(n - 1); ok {
			m.notice = fmt.Sprintf("you healed %s", name)
			if broken {
				m.notice = fmt.Sprintf("you broke %s: it answers 503 now", name)
			}
		}
	}
	return nil
}

// View implements tea.Model.
func (m *demoModel) View() tea.View {
	var b strings.Builder
	bold := lipgloss.NewStyle().Bold(true)
	dim := lipgloss.NewStyle().Faint(true)
	c := m.view.demo.Clients()
	fmt.Fprintf(&b, "%s  table %d, compiled %s ago   clients: %d visits, %d failed, %d without an answer\n",
		bold.Render("Pointsman demo: cdn.example.test"), m.status.TableVersion,
		age(m.status.Now, m.status.TableCompiled), c.Requests, c.Failed, c.NoAnswer)
	fmt.Fprintln(&b, m.table())
	if m.err != nil {
		fmt.Fprintf(&b, "the node does not answer: %v\n", m.err)
	}
	fmt.Fprintln(&b, bold.Render("Last events"))
	for _, e := range m.events {
		line := fmt.Sprintf("%s %-8s %s", e.At.Local().Format(time.TimeOnly), e.Kind, e.Message)
		fmt.Fprintln(&b, cut(line, m.width))
	}
	fmt.Fprintln(&b, bold.Render("\nTry in another terminal"))
	for _, h := range m.view.hints() {
		fmt.Fprintln(&b, "  "+h)
	}
	fmt.Fprintf(&b, "\n%s  %s", dim.Render("1 2 3: break or heal a CDN   q or Ctrl-C: end"), m.notice)
	v := tea.NewView(b.String())
	v.AltScreen = true
	return v
}

func (m *demoModel) table() string {
	t := lgtable.New().Border(lipgloss.RoundedBorder()).
		Headers("backend", "target", "actual", "state", "latency", "pool", "why").
		StyleFunc(func(row, col int) lipgloss.Style {
			s := lipgloss.NewStyle().Padding(0, 1)
			if col == 3 && row >= 0 {
				s = s.Foreground(stateColor(rows(m.status), row))
			}
			return s
		})
	for _, r := range rows(m.status) {
		r[6] = cut(r[6], max(20, m.width-75))
		t.Row(r...)
	}
	return t.Render()
}

// cut shortens a line to a width in runes, with an ellipsis.
func cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width || width < 2 {
		return s
	}
	return string(r[:width-1]) + "…"
}

// stateColor is the colour of a row's state; the word itself always stands beside it.
func stateColor(rs [][]string, row int) color.Color {
	if row >= len(rs) {
		return lipgloss.NoColor{}
	}
	switch rs[row][3] {
	case "healthy":
		return lipgloss.Color("2")
	case "degraded":
		return lipgloss.Color("3")
	case "unhealthy":
		return lipgloss.Color("1")
	}
	return lipgloss.NoColor{}
}
