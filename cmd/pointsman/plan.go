package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/app"
	"pointsman/internal/config"
	"pointsman/steering/whatif"
)

// planFlags are those of plan.
type planFlags struct {
	old             string
	sets            []string
	logs            []string
	lf              logFlags
	model, from, to string
	last            time.Duration
	host            string
	misses          []string
	maxChurn        float64
	maxOver         float64
	json            bool
}

func newPlan() *cobra.Command {
	f := &planFlags{}
	c := &cobra.Command{
		Use:   "plan NEW.yaml",
		Short: "Weigh a new config before it is loaded: shares, churn, cost, capacity, origin load",
		Long: "Run recorded queries (--log), or a model of resolvers (--model), through the config in force\n" +
			"and a new one, and compare. With --log the health, overrides and latencies of those hours\n" +
			"count, from the tables beside the log; the config in force is that of each table, unless\n" +
			"--config names one. With --model all backends are healthy. No node is needed and nothing\n" +
			"changes. Queries are counted, not the users behind them.\n" +
			"Exit codes: 0 done, 1 failed, or a --max flag is exceeded, or the new config would have been\n" +
			"refused at some time; 2 usage, or the new config is refused; 3 some lines could not be used.",
		Example: "  pointsman plan new.yaml --log /var/lib/pointsman/decisions.log --last 3h\n" +
			"  pointsman plan new.yaml --config /etc/pointsman/pointsman.yaml --model zipf:2000:1.1 \\\n" +
			"    --max-churn 5 --max-over-capacity 0",
		Args: takes("NEW.yaml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(cmd, args[0])
			if err != nil {
				return err
			}
			return f.run(cmd, o)
		},
	}
	f.bind(c)
	return c
}

func (f *planFlags) bind(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVarP(&f.old, "config", "c", "",
		"config `FILE` in force (default: what the log's tables were made from)")
	fs.StringArrayVar(&f.sets, "set", nil, "override one key of the new config with `KEY=VALUE` (repeatable)")
	fs.StringArrayVar(&f.logs, "log", nil, "decision log `FILE`, or - for standard input (repeatable)")
	f.lf.bind(c)
	fs.StringVar(&f.model, "model", "",
		"a `MODEL` of resolvers instead of a log, zipf:RESOLVERS:EXPONENT, such as zipf:2000:1.1")
	fs.StringVar(&f.from, "from", "", "only queries from this `TIME` on (RFC 3339)")
	fs.StringVar(&f.to, "to", "", "only queries up to this `TIME` (RFC 3339)")
	fs.DurationVar(&f.last, "last", 0, "only the last `DURATION` of the log, such as 3h")
	fs.StringVar(&f.host, "host", "", "only this steered `NAME`")
	fs.StringArrayVar(&f.misses, "miss", nil,
		"part of a backend's requests that go to the origin, `BACKEND=RATIO`, for the origin load (repeatable)")
	fs.Float64Var(&f.maxChurn, "max-churn", math.Inf(1),
		"fail when more than `PERCENT` of the queries change their backend")
	fs.Float64Var(&f.maxOver, "max-over-capacity", math.Inf(1),
		"fail when a backend's peak is more than `PERCENT` above its capacity")
	fs.Lookup("max-churn").DefValue, fs.Lookup("max-over-capacity").DefValue = "0", "0"
	fs.BoolVar(&f.json, "json", false, "print JSON")
}

func (f *planFlags) options(cmd *cobra.Command, file string) (o app.PlanOptions, err error) {
	if o.New, err = (&configFlags{path: file, sets: f.sets}).options(); err != nil {
		return o, err
	}
	if cmd.Flags().Changed("config") {
		old, err := (&configFlags{path: f.old}).options()
		if err != nil {
			return o, err
		}
		o.Old = &old
	}
	switch {
	case len(f.logs) == 0 && f.model == "":
		return o, usagef("plan needs queries: --log FILE, or --model zipf:2000:1.1 with --config FILE")
	case len(f.logs) > 0 && f.model != "":
		return o, usagef("--log and --model: want one of the two")
	case f.model != "" && o.Old == nil:
		return o, usagef("--model needs the config in force: --config FILE")
	case f.last < 0 || f.last > 0 && f.from != "":
		return o, usagef("--last: want more than 0, and no --from beside it")
	}
	if f.model != "" {
		m, err := whatif.ParseModel(f.model)
		if err != nil {
			return o, usagef("--model: %w", err)
		}
		o.Model = &m
	}
	if o.Logs, err = f.lf.logs(cmd.InOrStdin(), f.logs); err != nil {
		return o, err
	}
	o.Last, o.Host = f.last, f.host
	if o.From, err = timeFlag("from", f.from); err != nil {
		return o, err
	}
	if o.To, err = timeFlag("to", f.to); err != nil {
		return o, err
	}
	o.Miss, err = missRatios(f.misses)
	return o, err
}

func timeFlag(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usagef("--%s %q: want a time such as 2026-03-01T12:00:00Z", name, text)
	}
	return t, nil
}

func missRatios(texts []string) (map[string]float64, error) {
	out := make(map[string]float64)
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		ratio, err := strconv.ParseFloat(value, 64)
		if name == "" || err != nil || !(ratio >= 0 && ratio <= 1) {
			return nil, usagef("--miss %q: want BACKEND=RATIO, with a ratio from 0 to 1", text)
		}
		out[name] = ratio
	}
	return out, nil
}

// planned is a plan as JSON shows it.
type planned struct {
	*app.Plan
	Warnings []config.Finding `json:"warnings"`
	Verdict  string           `json:"verdict"`
	Exceeded []string         `json:"exceeded"` // the limits that were asked for
}

func (f *planFlags) run(cmd *cobra.Command, o app.PlanOptions) error {
	p, err := app.MakePlan(o)
	if err != nil {
		return configExit(err)
	}
	if p.Moments == 0 && len(p.Refused) == 0 {
		return fmt.Errorf("no query could be weighed (%s)", skipped(p))
	}
	over := f.exceeded(p)
	v := planned{Plan: p, Warnings: append([]config.Finding{}, p.Checked.Warnings...),
		Verdict: verdict(p, over), Exceeded: append([]string{}, over...)}
	if f.json {
		err = printJSON(cmd.OutOrStdout(), v)
	} else {
		err = writePlan(cmd.OutOrStdout(), v)
	}
	switch {
	case err != nil:
		return err
	case len(over) > 0 || len(p.Refused) > 0:
		return exitError{code: exitFailed}
	case len(p.Skipped) > 0:
		return exitError{code: exitPartly}
	}
	return nil
}

// exceeded says which limits a plan exceeds.
func (f *planFlags) exceeded(p *app.Plan) (out []string) {
	if p.Churn*100 > f.maxChurn {
		out = append(out, fmt.Sprintf("churn is %s, more than %g%%", percent(p.Churn), f.maxChurn))
	}
	for _, b := range p.Backends {
		if above := (b.Used(b.Load.New) - 1) * 100; b.Capacity > 0 && above > f.maxOver {
			out = append(out, fmt.Sprintf("%s is %.1f%% above its capacity, more than %g%%",
				b.Backend, above, f.maxOver))
		}
	}
	return out
}
