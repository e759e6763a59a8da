package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/app"
	"pointsman/steering"
	"pointsman/steering/replay"
)

// progressEvery is how often a terminal is told how far a command is.
const progressEvery = 200 * time.Millisecond

// logFlags say where decision logs and what they refer to lie.
type logFlags struct {
	tables, country string
}

func (f *logFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.tables, "tables", "",
		"`FOLDER` of the tables' files (default: FILE.tables, beside each log)")
	c.Flags().StringVar(&f.country, "country", "",
		"country data `FILE` of that time (default: the config's, or the built-in data)")
}

func (f *logFlags) logs(in io.Reader, files []string) (app.Logs, error) {
	for i, name := range files {
		switch {
		case name == "":
			return app.Logs{}, usagef("the name of a decision log is empty")
		case slices.Contains(files[:i], name):
			return app.Logs{}, usagef("%s is named twice", name)
		case name == "-" && f.tables == "":
			return app.Logs{}, usagef("standard input needs --tables FOLDER")
		}
	}
	return app.Logs{Files: files, In: in, Tables: f.tables, Country: f.country}, nil
}

func newReplay() *cobra.Command {
	var cf configFlags
	var lf logFlags
	var host, hash string
	var shown, line int
	var asJSON bool
	c := &cobra.Command{
		Use:   "replay FILE [FILE ...]",
		Short: "Make the answers of decision logs again, and compare them octet by octet",
		Long: "Make the decisions of decision logs again, from the tables beside them, and with --config\n" +
			"the answers too, by the code that answers queries; then compare. No node is needed and\n" +
			"nothing is sent. For files that were put aside (FILE.1) the tables are found too; - is\n" +
			"standard input. Lines that can't be made again are counted apart, by why.\n" +
			"Exit codes: 0 all equal, 1 some differ, 2 usage or config, 3 some lines could not be judged\n" +
			"(their table's file is gone, or they are no lines of a decision log).",
		Example: "  pointsman replay --config /etc/pointsman/pointsman.yaml /var/lib/pointsman/decisions.log\n" +
			"  pointsman replay --explain 17 decisions.log",
		Args: needsFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := app.ReplayOptions{Host: host, Table: hash, Shown: shown}
			var err error
			if o.Logs, err = lf.logs(cmd.InOrStdin(), args); err != nil {
				return err
			}
			if cmd.Flags().Changed("config") {
				co, err := cf.options()
				if err != nil {
					return err
				}
				o.Config = &co
			}
			if cmd.Flags().Changed("explain") {
				return explainLine(cmd, o, line, asJSON)
			}
			return runReplay(cmd, o, asJSON)
		},
	}
	cf.bind(c)
	c.Flags().StringVarP(&cf.path, "config", "c", "",
		"config `FILE` that the answers were given by; without it decisions alone are compared")
	lf.bind(c)
	c.Flags().StringVar(&host, "host", "", "only lines of this steered `NAME`")
	c.Flags().StringVar(&hash, "table", "", "only lines of tables whose `HASH` begins so")
	c.Flags().IntVar(&shown, "show", 10, "how many differences are shown, the first `N`")
	c.Flags().IntVar(&line, "explain", 0, "make the `N`-th line of the file again, and say why")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func needsFiles(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s needs FILE, a decision log, or - for standard input", named(cmd))
	}
	return nil
}

func runReplay(cmd *cobra.Command, o app.ReplayOptions, asJSON bool) error {
	if o.Shown < 1 {
		return usagef("--show %d: want at least 1", o.Shown)
	}
	o.Done = &replay.Progress{}
	stop := showProgress(cmd.Context(), cmd.ErrOrStderr(), o.Done, o.Size())
	r, err := app.Replay(cmd.Context(), o)
	stop()
	if err != nil {
		return configExit(err)
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), r)
	} else {
		err = writeReplay(cmd.OutOrStdout(), r)
	}
	switch {
	case err != nil:
		return err
	case r.Differ() > 0:
		return exitError{code: exitFailed}
	case r.Lost() > 0:
		return exitError{code: exitPartly}
	}
	return nil
}

// showProgress shows on a terminal how far a replay is, until the returned function is called.
func showProgress(
	ctx context.Context, out io.Writer, p *replay.Progress, size int64,
) (stop func()) {
	if !isTerminal(out) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				fmt.Fprint(out, "\r\x1b[K")
				return
			case <-tick.C:
			}
			fmt.Fprint(out, "\r"+progressLine(p, size)+"\x1b[K")
		}
	})
	return func() { cancel(); wg.Wait() }
}

// barWidth is how wide a bar of progress is, in columns.
const barWidth = 40

func progressLine(p *replay.Progress, size int64) string {
	lines := grouped(float64(p.Lines.Load())) + " lines"
	if size == 0 {
		return lines
	}
	part := min(float64(p.Octets.Load())/float64(size), 1)
	full := int(part * barWidth)
	return fmt.Sprintf("[%s%s] %s, %s", strings.Repeat("#", full),
		strings.Repeat(".", barWidth-full), percent(part), lines)
}

// replayRows are what a report counts, with what it means.
var replayRows = []struct {
	outcome replay.Outcome
	about   string
}{
	{replay.Equal, "made again, the same"},
	{replay.Differs, "made again, another"},
	{replay.Inexact, "tells too little of the client to be made again"},
	{replay.NoTable, "its table could not be made again"},
	{replay.Unread, "no line of a decision log"},
	{replay.Untold, "the query is not told, or not the whole address"},
	{replay.Unmade, "can't be made again: see below"},
}

func writeReplay(out io.Writer, r *replay.Report) error {
	t := table(out, "WHAT OUTCOME COUNT MEANING")
	for _, part := range []struct {
		name string
		of   map[replay.Outcome]int
	}{{"decisions", r.Decisions}, {"answers", r.Answers}} {
		for _, row := range replayRows {
			if n := part.of[row.outcome]; n > 0 {
				t.add(part.name, row.outcome, grouped(float64(n)), row.about)
			}
		}
	}
	if err := t.flush("no lines"); err != nil {
		return err
	}
	for _, why := range slices.Sorted(maps.Keys(r.Unmade)) {
		fmt.Fprintf(out, "not made again: %s: %s\n", grouped(float64(r.Unmade[why])), clean(why))
	}
	for _, f := range append(slices.Clone(r.Found), r.Unjudged...) {
		fmt.Fprintf(out, "%s:%d: %s: %s\n", clean(f.File), f.Line, f.What, clean(f.Why))
	}
	if r.Dropped > 0 {
		fmt.Fprintf(out, "The node dropped %s events, which are not in the log.\n",
			grouped(float64(r.Dropped)))
	}
	verdict := fmt.Sprintf("%s differ", plural(r.Differ(), "line"))
	if r.Differ() == 0 {
		verdict = "nothing differs"
	}
	if n := r.Lost(); n > 0 {
		verdict += ", " + plural(n, "line") + " could not be judged"
	}
	_, err := fmt.Fprintf(out, "%s lines (%s left out by filters), %s, %s: %s a second; %s.\n",
		grouped(float64(r.Lines)), grouped(float64(r.Filtered)), plural(r.Tables, "table"),
		span(r.Took), grouped(r.Rate()), verdict)
	return err
}

// toldLine is a line that was made again, as JSON shows it.
type toldLine struct {
	Decision     replay.Outcome         `json:"decision"`
	Answer       replay.Outcome         `json:"answer,omitempty"`
	Why          string                 `json:"why,omitempty"`
	Explanations []steering.Explanation `json:"explanations"`
}

func explainLine(cmd *cobra.Command, o app.ReplayOptions, n int, asJSON bool) error {
	if n < 1 || len(o.Files) != 1 {
		return usagef("--explain %d: want the number of a line, from 1, of one file", n)
	}
	got, err := app.Retell(o, n)
	if err != nil {
		return configExit(err)
	}
	j := got.Judged
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), toldLine{Decision: j.Decision, Answer: j.Answer,
			Why: j.Why, Explanations: got.Explains})
	} else {
		err = writeRetold(cmd.OutOrStdout(), n, got)
	}
	if err == nil && (j.Decision == replay.Differs || j.Answer == replay.Differs) {
		return exitError{code: exitFailed}
	}
	return err
}

func writeRetold(out io.Writer, n int, got *app.Retold) error {
	l, j := &got.Line, got.Judged
	fmt.Fprintf(out, "line %d: %s, %s from %s\n", n, l.Time.UTC().Format(time.RFC3339Nano),
		clean(l.Host), clientOf(l))
	fmt.Fprintf(out, "logged: %s (pool %s, reason %s) by table %d (%s)\n", clean(l.Backend),
		clean(l.Pool), clean(string(l.Reason)), l.TableVersion, short(l.TableHash))
	for _, e := range got.Explains {
		fmt.Fprintf(out, "\n%s, draw %016x, by what was known %s before:\n", e.Host, e.Draw,
			span(time.Duration(e.CompiledAgeSeconds*float64(time.Second))))
		for i, s := range e.Steps {
			fmt.Fprintf(out, "%d. %s: %s\n", i+1, clean(s.What), clean(s.Detail))
		}
		fmt.Fprintf(out, "made again: %s (pool %s, reason %s), ttl %ds, scope /%d\n",
			e.Decision.Backend, e.Decision.Pool, e.Decision.Reason, e.Decision.TTLSeconds,
			e.Decision.Scope)
	}
	verdict := "decision " + string(j.Decision)
	if j.Answer != "" {
		verdict += ", answer " + string(j.Answer)
	}
	if j.Why != "" {
		verdict += " (" + j.Why + ")"
	}
	_, err := fmt.Fprintf(out, "\n%s\n", clean(verdict))
	return err
}

func clientOf(l *replay.Line) string {
	if !l.Client.IsValid() {
		return "a client that is not told"
	}
	return l.Client.String()
}
