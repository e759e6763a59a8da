package main

import (
	"context"
	"fmt"
	"image/color"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	lgtable "charm.land/lipgloss/v2/table"

	"pointsman/internal/admin/api"
)

const (
	demoEvents = 8  // most events on the screen
	leastSeen  = 3  // events for which hints give way
	roomy      = 30 // lines from which the table gets a frame
	airy       = 36 // lines from which parts are set apart by blank lines
)

// demoModel is the screen's state. Bubbletea calls it from one goroutine. The context is kept
// for its commands alone, which have no other way to get one.
type demoModel struct {
	view          demoView
	ctx           context.Context
	status        api.Status
	events        []api.Event
	after         uint64
	notice        string
	err           error
	width, height int
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
		m.width, m.height = msg.Width, msg.Height
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
		if name, broken, ok := m.view.toggle(n - 1); ok {
			m.notice = fmt.Sprintf("you healed %s", name)
			if broken {
				m.notice = fmt.Sprintf("you broke %s: it answers 503 now", name)
			}
		}
	}
	return nil
}

// View implements tea.Model. Nothing is wider or longer than the screen: what matters less
// gives way.
func (m *demoModel) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	return v
}

// lines are the lines of the screen.
func (m *demoModel) lines() []string {
	out := m.head()
	out = append(out, strings.Split(m.table(), "\n")...)
	hints, gap := m.view.hints(), m.gap()
	left := m.height - len(out) - 2*len(gap) - 4 // two headings, one blank line, the keys
	hints = hints[:max(0, min(len(hints), left-leastSeen))]
	events := m.events[max(0, len(m.events)-max(0, left-len(hints))):]

	bold := lipgloss.NewStyle().Bold(true)
	out = append(append(out, gap...), bold.Render("Last events"))
	for _, e := range events {
		out = append(out, cut(eventLine(e), m.width))
	}
	if len(hints) > 0 {
		out = append(append(out, gap...), bold.Render("Try in another terminal"))
	}
	for _, h := range hints {
		out = append(out, cut("  "+h, m.width))
	}
	keys := "1 2 3: break or heal a CDN   q: end"
	room := m.width - utf8.RuneCountInString(keys) - 3
	return append(out, "", lipgloss.NewStyle().Faint(true).Render(cut(keys, m.width))+"   "+
		cut(m.notice, max(room, 0)))
}

func (m *demoModel) gap() []string {
	if m.height < airy {
		return nil
	}
	return []string{""}
}

func (m *demoModel) head() []string {
	title := "Pointsman demo: cdn.example.test"
	c := m.view.clients()
	second := fmt.Sprintf("clients: %d visits, %d failed, %d without an answer", c.Requests,
		c.Failed, c.NoAnswer)
	switch {
	case m.err != nil:
		second = clean("the node does not answer: " + m.err.Error())
	case m.status.TableCompiled.IsZero():
		second = "starting"
	default:
		title += fmt.Sprintf("   table %d, compiled %s", m.status.TableVersion,
			ago(m.status.Now, m.status.TableCompiled))
	}
	return []string{lipgloss.NewStyle().Bold(true).Render(cut(title, m.width)), cut(second, m.width)}
}

func (m *demoModel) table() string {
	head := []string{"backend", "target", "actual", "state", "latency", "pool", "why"}
	list := backendsOf(m.status)
	framed := m.height >= roomy
	t := lgtable.New().Border(lipgloss.RoundedBorder()).Headers(head...).
		StyleFunc(func(row, col int) lipgloss.Style {
			s := lipgloss.NewStyle().Padding(0, 1)
			switch {
			case row < 0:
				return s.Bold(true)
			case col == 3 && row < len(list):
				return s.Foreground(stateColor(list[row].state))
			}
			return s
		})
	room := m.width - 2*len(head)
	if framed {
		room -= len(head) + 1
	} else {
		t = t.BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
			BorderHeader(false).BorderColumn(false)
	}
	room -= widest(list, head)
	for _, b := range list {
		t.Row(b.name, b.target, b.actual, b.state, b.latency, b.pool, cut(b.why, max(room, 4)))
	}
	return t.Render()
}

// widest is how many columns all cells but the last need.
func widest(list []shownBackend, head []string) int {
	sum := 0
	for i := range len(head) - 1 {
		w := utf8.RuneCountInString(head[i])
		for _, b := range list {
			cell := []string{b.name, b.target, b.actual, b.state, b.latency, b.pool}[i]
			w = max(w, utf8.RuneCountInString(cell))
		}
		sum += w
	}
	return sum
}

// cut shortens a line to a width in runes, with an ellipsis.
func cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	if width < 2 {
		return ""
	}
	return string(r[:width-1]) + "…"
}

// stateColor is the colour of a state; the word itself always stands beside it.
func stateColor(state string) color.Color {
	switch state {
	case "healthy":
		return lipgloss.Color("2")
	case "degraded":
		return lipgloss.Color("3")
	case "unhealthy":
		return lipgloss.Color("1")
	}
	return lipgloss.NoColor{}
}
