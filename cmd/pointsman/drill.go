package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

const (
	drillPoll = time.Second      // how often a drill is looked at
	drillAway = 30 * time.Second // how long the node may be away before nobody looks any more
)

func newDrill() *cobra.Command {
	c := &cobra.Command{
		Use:   "drill",
		Short: "Prove on a quiet day that failover works",
		Example: "  pointsman drill start --backend fastly --for 2m\n" +
			"  pointsman drill status",
	}
	asGroup(c)
	c.AddCommand(newDrillStart(), newDrillStatus(), newDrillStop())
	return c
}

func newDrillStart() *cobra.Command {
	f := &clientFlags{}
	var r api.DrillRequest
	var lasts time.Duration
	var detach bool
	c := &cobra.Command{
		Use:   "start",
		Short: "Make a backend's probes fail at the source and measure what follows",
		Long: "Make one backend's probes fail at the source, measure the time to detect and to shift and\n" +
			"the shares over time, stop by itself, restore, and print a report. Users are moved off the\n" +
			"backend while it runs. A guard refuses or aborts it when too little healthy capacity would\n" +
			"remain. Ctrl-C ends it early and waits until everything is restored.\n\n" +
			"Exit codes: 0 everything shifted and came back, 1 refused, aborted or failed, 2 usage.",
		Example: "  pointsman drill start --backend fastly --for 2m",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.MinHealthy < 0 || r.MinHealthy > 1 {
				return usagef("--min-healthy %g: want a part of 1, from 0 to 1", r.MinHealthy)
			}
			r.For, r.Confirm = lasts.String(), r.Backend
			d, err := ask(cmd.Context(), f, func(ctx context.Context, c *api.Client) (api.Drill, error) {
				return c.StartDrill(ctx, r)
			})
			if err != nil {
				return err
			}
			switch {
			case detach && f.json:
				return printJSON(cmd.OutOrStdout(), d)
			case detach:
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "drill %s on %s runs for %s; see: pointsman "+
					"drill status %s\n", clean(d.ID), clean(d.Backend), span(lasts), clean(d.ID))
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "drill %s on %s runs for %s; Ctrl-C stops and restores\n",
				clean(d.ID), clean(d.Backend), span(lasts))
			return followDrill(cmd, f, d)
		},
	}
	f.bind(c)
	c.Flags().StringVar(&r.Backend, "backend", "", "`BACKEND` to fail (required)")
	c.Flags().DurationVar(&lasts, "for", 2*time.Minute, "`DURATION` for which its probes fail, 5s to 30m")
	c.Flags().StringVar(&r.Reason, "reason", "drill", "`TEXT` for the audit log")
	c.Flags().Float64Var(&r.MinHealthy, "min-healthy", 0,
		"`PART` of the present shares that must stay with other healthy backends, 0 to 1 (default 0.25)")
	c.Flags().BoolVar(&detach, "detach", false, "return at once; see: pointsman drill status ID")
	_ = c.MarkFlagRequired("backend")
	return c
}

// followDrill tells of a drill until its end. An interrupt stops the drill, and its end is
// waited for nevertheless: a second interrupt ends this process and leaves the rest to the node.
func followDrill(cmd *cobra.Command, f *clientFlags, d api.Drill) error {
	ctx := context.WithoutCancel(cmd.Context())
	interrupted := cmd.Context().Done()
	tick := time.NewTicker(drillPoll)
	defer tick.Stop()
	last, reached := "", time.Now()
	for {
		do := func(ctx context.Context, c *api.Client) (api.Drill, error) { return c.Drill(ctx, d.ID) }
		select {
		case <-interrupted:
			interrupted = nil
			fmt.Fprintln(cmd.ErrOrStderr(), "stopping the drill; Ctrl-C again leaves that to the node")
			do = func(ctx context.Context, c *api.Client) (api.Drill, error) { return c.StopDrill(ctx, d.ID) }
		case <-tick.C:
		}
		now, err := ask(ctx, f, do)
		switch {
		case err == nil:
			d, reached = now, time.Now()
		case stated(err) || time.Since(reached) > drillAway:
			return fmt.Errorf("following drill %s (it ends and restores by itself): %w", d.ID, err)
		default:
			continue // away for a moment
		}
		if line := d.State + ": " + d.Message; line != last {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s  %s\n", time.Now().Format(time.TimeOnly), clean(line))
			last = line
		}
		if drillEnded(d) {
			return errors.Join(printDrill(cmd, f, d), drillExit(d))
		}
	}
}

func drillEnded(d api.Drill) bool {
	return d.State == "done" || d.State == "aborted" || d.State == "failed"
}

// drillExit is the error of a drill that did not prove what it should.
func drillExit(d api.Drill) error {
	if d.State == "done" {
		return nil
	}
	return fmt.Errorf("drill %s: %s", d.State, d.Message)
}

func printDrill(cmd *cobra.Command, f *clientFlags, d api.Drill) error {
	if f.json {
		return printJSON(cmd.OutOrStdout(), d)
	}
	if d.Markdown != "" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), cleanLines(d.Markdown))
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "drill %s on %s: %s: %s\n", clean(d.ID),
		clean(d.Backend), clean(d.State), clean(d.Message))
	return err
}

func newDrillStatus() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "status [ID]", Short: "Show a drill and its report, or list the newest drills",
		Example: "  pointsman drill status\n  pointsman drill status 20261123T104158.795Z --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return takes("ID")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return tell(cmd, f, func(ctx context.Context, c *api.Client) (api.Drill, error) {
					return c.Drill(ctx, args[0])
				}, func(d api.Drill) error { return printDrill(cmd, f, d) })
			}
			return tell(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Drill, error) {
				return c.Drills(ctx)
			}, func(list []api.Drill) error {
				t := table(cmd.OutOrStdout(), "ID BACKEND STATE STARTED BY MESSAGE")
				for _, d := range list {
					t.add(d.ID, d.Backend, d.State, ago(time.Now(), d.Started), d.Actor, d.Message)
				}
				return t.flush("no drills")
			})
		},
	}
	f.bind(c)
	return c
}

func newDrillStop() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "stop ID", Short: "End a drill early and restore", Args: takes("ID"),
		Example: "  pointsman drill stop 20261123T104158.795Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) (api.Drill, error) {
				return c.StopDrill(ctx, args[0])
			}, func(d api.Drill) error {
				if drillEnded(d) {
					return printDrill(cmd, f, d)
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "drill %s on %s is being stopped; see how its "+
					"share comes back: pointsman drill status %s\n", clean(d.ID), clean(d.Backend),
					clean(d.ID))
				return err
			})
		},
	}
	f.bind(c)
	return c
}
