package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

func newDrill() *cobra.Command {
	c := &cobra.Command{
		Use:   "drill",
		Short: "Prove on a quiet day that failover works",
	}
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
		Long: "Makes one backend's probes fail at the source, measures the time to detect and to shift\n" +
			"and the shares over time, stops by itself, restores, and writes a report. Users are moved\n" +
			"off the backend while it runs. A guard refuses or aborts it when too little healthy\n" +
			"capacity would remain.",
		Example: "  pointsman drill start --backend fastly --for 2m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.For, r.Confirm, r.Actor = lasts.String(), r.Backend, actor()
			d, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.Drill, error) {
				return c.StartDrill(ctx, r)
			})
			if err != nil {
				return err
			}
			if detach {
				return printDrill(cmd, f, d)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "drill %s on %s runs until %s; Ctrl-C stops and restores\n",
				d.ID, d.Backend, d.Ends.Format(time.TimeOnly))
			return followDrill(cmd, f, d)
		},
	}
	f.bind(c)
	c.Flags().StringVar(&r.Backend, "backend", "", "the backend to fail (required)")
	c.Flags().DurationVar(&lasts, "for", 2*time.Minute, "how long its probes fail")
	c.Flags().StringVar(&r.Reason, "reason", "drill", "why; goes into the audit log")
	c.Flags().Float64Var(&r.MinHealthy, "min-healthy", 0,
		"share of the other backends' weight that must be healthy, 0 to 1 (default: the node's 0.25)")
	c.Flags().BoolVar(&detach, "detach", false, "return at once; see: pointsman drill status ID")
	_ = c.MarkFlagRequired("backend")
	return c
}

// followDrill polls a drill to its end. An interrupt stops the drill, which restores.
func followDrill(cmd *cobra.Command, f *clientFlags, d api.Drill) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-cmd.Context().Done():
			return stopDrill(cmd, f, c, d.ID)
		case <-tick.C:
		}
		d, err = c.Drill(cmd.Context(), d.ID)
		if err != nil && cmd.Context().Err() == nil {
			return fmt.Errorf("following drill (it goes on and restores by itself): %w", err)
		}
		if line := d.State + ": " + d.Message; line != last && d.State != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s  %s\n", time.Now().Format(time.TimeOnly), line)
			last = line
		}
		if drillEnded(d) {
			return printDrill(cmd, f, d)
		}
	}
}

func stopDrill(cmd *cobra.Command, f *clientFlags, c *api.Client, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), 10*time.Second)
	defer cancel()
	d, err := c.StopDrill(ctx, id)
	if err != nil {
		return fmt.Errorf("stopping drill %s (it ends by itself at its time): %w", id, err)
	}
	return printDrill(cmd, f, d)
}

func drillEnded(d api.Drill) bool {
	return d.State == "done" || d.State == "aborted" || d.State == "failed"
}

func printDrill(cmd *cobra.Command, f *clientFlags, d api.Drill) error {
	if f.json {
		return printJSON(cmd.OutOrStdout(), d)
	}
	if d.Markdown != "" {
		fmt.Fprintln(cmd.OutOrStdout(), d.Markdown)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "drill %s on %s: %s %s\n", d.ID, d.Backend, d.State, d.Message)
	}
	if d.State == "aborted" || d.State == "failed" {
		return exitError{exitFailed, errors.New("drill " + d.State + ": " + d.Message)}
	}
	return nil
}

func newDrillStatus() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "status [ID]", Short: "Show a drill and its report, or list the newest drills",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				d, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.Drill, error) {
					return c.Drill(ctx, args[0])
				})
				if err != nil {
					return err
				}
				return printDrill(cmd, f, d)
			}
			list, err := ask(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Drill, error) {
				return c.Drills(ctx)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := table(cmd.OutOrStdout(), "ID BACKEND STATE STARTED BY MESSAGE")
			for _, d := range list {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s ago\t%s\t%s\n", d.ID, d.Backend, d.State,
					age(time.Now(), d.Started), d.Actor, d.Message)
			}
			return t.Flush()
		},
	}
	f.bind(c)
	return c
}

func newDrillStop() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "stop ID", Short: "End a drill early and restore", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.Drill, error) {
				return c.StopDrill(ctx, args[0])
			})
			if err != nil {
				return err
			}
			return printDrill(cmd, f, d)
		},
	}
	f.bind(c)
	return c
}
