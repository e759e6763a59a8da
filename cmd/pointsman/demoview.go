package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	tea "charm.land/bubbletea/v2"

	"pointsman/internal/admin/api"
	"pointsman/internal/demo"
)

// demoPeriod is how often the demo's view asks the node.
const demoPeriod = 500 * time.Millisecond

// demoView shows a running demo. It is a client of the admin API like any other.
type demoView struct {
	clients func() demo.ClientCounts
	toggle  func(n int) (name string, broken, ok bool)
	client  *api.Client
	ports   demo.Ports
	out     io.Writer
	command string // how the user calls this program
}

// hints are the commands to try next, made for the ports in use and the way this program was
// called. With usual ports none is wider than 80 columns.
func (v demoView) hints() []string {
	admin, api := "http://"+v.ports.Admin.String(), strconv.Itoa(int(v.ports.API))
	var first []string
	if v.ports.Admin != demo.DefaultPorts().Admin {
		first = []string{"export " + envAdmin + "=" + admin}
	}
	return append(first,
		fmt.Sprintf("dig @%s -p %d cdn.example.test +noall +answer", v.ports.DNS.Addr(),
			v.ports.DNS.Port()),
		fmt.Sprintf("curl -i -H 'Host: cdn.example.test' http://127.0.0.11:%d/price.json",
			v.ports.HTTP),
		v.command+" status",
		v.command+" explain cdn.example.test --client 192.0.2.7",
		v.command+" purge --url http://cdn.example.test/price.json --wait",
		v.command+" drill start --backend charlie --for 20s",
		v.command+" drain bravo --for 1m --reason 'try it'",
		"curl -X POST http://127.0.0.11:"+api+"/demo/break    # and /demo/heal",
		"curl -s "+admin+"/metrics | grep ^pointsman_",
		"the console, in a browser: "+admin+"/",
	)
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
			fmt.Fprintln(v.out, eventLine(e))
		}
		if n%10 == 1 {
			v.summary(s)
		}
	}
}

func eventLine(e api.Event) string {
	return fmt.Sprintf("%s %-8s %s", e.At.Local().Format(time.TimeOnly), e.Kind, clean(e.Message))
}

func (v demoView) summary(s api.Status) {
	for _, b := range backendsOf(s) {
		fmt.Fprintf(v.out, "  %-8s target %6s  actual %6s  %-9s %8s\n", b.name, b.target, b.actual,
			b.state, b.latency)
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

// shownBackend is one backend of a steered name, ready to be shown.
type shownBackend struct{ name, target, actual, state, latency, pool, why string }

func backendsOf(s api.Status) []shownBackend {
	byName := map[string]api.Backend{}
	for _, b := range s.Backends {
		byName[b.Name] = b
	}
	var out []shownBackend
	for _, h := range s.Hosts {
		for _, b := range h.Backends {
			d := byName[b.Backend]
			out = append(out, shownBackend{b.Backend, percent(b.Target), percent(b.Actual), d.State,
				latencyOf(d), b.Pool, clean(whyOf(s, h.Host, d))})
		}
	}
	return out
}

// screen runs the live screen until the user quits or ctx ends. It is asked to quit, never cut
// off: only then does it wait for its reader of keys.
func (v demoView) screen(ctx context.Context) error {
	p := tea.NewProgram(&demoModel{view: v, ctx: ctx, width: 80, height: 24},
		tea.WithoutSignalHandler())
	stop := context.AfterFunc(ctx, p.Quit)
	defer stop()
	_, err := p.Run()
	return err
}
