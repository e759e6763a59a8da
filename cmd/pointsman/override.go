package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// maxWeight is the largest weight that the node takes.
const maxWeight = 1_000_000

// overrideFlags are shared by drain, pin and weight.
type overrideFlags struct {
	clientFlags
	host, reason string
	lasts        time.Duration
}

func (f *overrideFlags) bindOverride(c *cobra.Command) {
	f.bind(c)
	c.Flags().StringVar(&f.host, "host", "", "only for this steered `NAME` (default: all)")
	c.Flags().StringVar(&f.reason, "reason", "", "`TEXT` for whoever reads it at 3 a.m. (required)")
	c.Flags().DurationVar(&f.lasts, "for", time.Hour, "`DURATION` after which it ends by itself")
	_ = c.MarkFlagRequired("reason")
}

// check refuses what the node would, before it is asked.
func (f *overrideFlags) check() error {
	switch {
	case strings.TrimSpace(f.reason) == "":
		return usagef("--reason: say why, for whoever reads it at 3 a.m.")
	case f.lasts <= 0:
		return usagef("--for %s: want more than nothing, such as 30m", f.lasts)
	}
	return nil
}

func newDrain() *cobra.Command {
	return newOverride("drain", "drain BACKEND", "Give a backend no more traffic",
		"  pointsman drain fastly --for 2h --reason 'vendor maintenance'", takes("BACKEND"))
}

func newPin() *cobra.Command {
	return newOverride("pin", "pin BACKEND", "Give a backend all traffic, healthy or not",
		"  pointsman pin origin --host cdn.example.test --for 10m --reason 'bad CDN config'",
		takes("BACKEND"))
}

func newWeight() *cobra.Command {
	return newOverride("weight", "weight BACKEND WEIGHT", "Give a backend another weight; 0 drains",
		"  pointsman weight cloudflare 5 --for 30m --reason 'canary'", takes("BACKEND", "WEIGHT"))
}

// newOverride builds the command of one kind of override.
func newOverride(kind, use, about, example string, args cobra.PositionalArgs) *cobra.Command {
	f := &overrideFlags{}
	c := &cobra.Command{
		Use: use, Short: about, Args: args,
		Long: about + ".\n\nIt is in force at once, on every node that shares the store, and ends by " +
			"itself after\n--for; 'pointsman undo ID' ends it early. The same command again adds another one.",
		Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := api.Override{Kind: kind, Backend: args[0], Host: f.host, Reason: f.reason,
				For: f.lasts.String()}
			if err := f.check(); err != nil {
				return err
			}
			if kind == "weight" {
				n, err := strconv.ParseUint(args[1], 10, 32)
				if err != nil || n > maxWeight {
					return usagef("WEIGHT %q: want a whole number from 0 to %d", args[1], maxWeight)
				}
				o.Weight = uint32(n)
			}
			return tell(cmd, &f.clientFlags,
				func(ctx context.Context, c *api.Client) (api.Override, error) {
					return c.AddOverride(ctx, o)
				}, func(o api.Override) error { return printOverride(cmd.OutOrStdout(), o) })
		},
	}
	f.bindOverride(c)
	return c
}

func printOverride(w io.Writer, o api.Override) error {
	scope := "every steered name"
	if o.Host != "" {
		scope = o.Host
	}
	fmt.Fprintf(w, "%s of %s for %s until %s (%s); undo with: pointsman undo %s\n", kindOf(o),
		clean(o.Backend), clean(scope), o.Expires.UTC().Format(time.RFC3339),
		span(time.Until(o.Expires)), clean(o.ID))
	switch {
	case o.Unsaved:
		fmt.Fprintln(w, "no store can be written: in force on this node only, and a restart "+
			"before one can be would forget it")
	case o.Local:
		fmt.Fprintln(w,
			"the shared store is out of reach: in force on this node only, shared when it returns")
	}
	return nil
}

// kindOf is an override's kind with its weight.
func kindOf(o api.Override) string {
	if o.Kind == "weight" {
		return fmt.Sprintf("weight %d", o.Weight)
	}
	return clean(o.Kind)
}

func newUndo() *cobra.Command {
	f := &clientFlags{}
	type undone struct {
		ID    string         `json:"id"`
		Ended bool           `json:"ended"`
		Left  []api.Override `json:"left"` // still in force
	}
	c := &cobra.Command{
		Use: "undo ID", Short: "End an override before it expires", Args: takes("ID"),
		Example: "  pointsman overrides\n  pointsman undo ov-6f3d47e670133780",
		RunE: func(cmd *cobra.Command, args []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) (undone, error) {
				if err := c.RemoveOverride(ctx, args[0]); err != nil {
					return undone{}, err
				}
				left, err := c.Overrides(ctx)
				return undone{ID: args[0], Ended: true, Left: left}, err
			}, func(u undone) error {
				fmt.Fprintf(cmd.OutOrStdout(), "override %s ended\n", clean(u.ID))
				if len(u.Left) == 0 {
					return nil
				}
				fmt.Fprintln(cmd.OutOrStdout(), "still in force:")
				return writeOverrides(cmd.OutOrStdout(), time.Now(), u.Left)
			})
		},
	}
	f.bind(c)
	return c
}

func newOverrides() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "overrides", Short: "List the overrides in force", Args: takes(),
		Example: "  pointsman overrides --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Override, error) {
				return c.Overrides(ctx)
			}, func(list []api.Override) error {
				return writeOverrides(cmd.OutOrStdout(), time.Now(), list)
			})
		},
	}
	f.bind(c)
	return c
}

func writeOverrides(w io.Writer, now time.Time, os []api.Override) error {
	t := table(w, "OVERRIDE BACKEND HOST ENDS ID BY REASON")
	for _, o := range os {
		kind, host := kindOf(o), o.Host
		switch {
		case o.Unsaved:
			kind += " (not saved)"
		case o.Local:
			kind += " (this node only)"
		}
		if host == "" {
			host = "all"
		}
		t.add(kind, o.Backend, host, "in "+span(o.Expires.Sub(now)), o.ID, o.Actor, o.Reason)
	}
	return t.flush("no overrides in force")
}

// actor names who acts when no token does: the local user and host.
func actor() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		name += "@" + h
	}
	return name
}
