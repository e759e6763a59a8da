package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// overrideFlags are shared by drain, pin and weight.
type overrideFlags struct {
	clientFlags
	host, reason string
	lasts        time.Duration
}

func (f *overrideFlags) bindOverride(c *cobra.Command) {
	f.bind(c)
	c.Flags().StringVar(&f.host, "host", "", "only for this steered name (default: all)")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for whoever reads it at 3 a.m. (required)")
	c.Flags().DurationVar(&f.lasts, "for", time.Hour, "how long it holds")
	_ = c.MarkFlagRequired("reason")
}

func newDrain() *cobra.Command {
	return newOverride("drain", "drain BACKEND", "Give a backend no more traffic",
		"  pointsman drain fastly --for 2h --reason 'vendor maintenance'")
}

func newPin() *cobra.Command {
	return newOverride("pin", "pin BACKEND", "Give a backend all traffic, healthy or not",
		"  pointsman pin origin --host cdn.example.test --for 10m --reason 'bad CDN config'")
}

func newWeight() *cobra.Command {
	return newOverride("weight", "weight BACKEND WEIGHT", "Give a backend another weight",
		"  pointsman weight cloudflare 5 --for 30m --reason 'canary'")
}

// newOverride builds the command of one kind of override.
func newOverride(kind, use, about, example string) *cobra.Command {
	f := &overrideFlags{}
	args := cobra.ExactArgs(1)
	if kind == "weight" {
		args = cobra.ExactArgs(2)
	}
	c := &cobra.Command{
		Use: use, Short: about, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := api.Override{Kind: kind, Backend: args[0], Host: f.host, Reason: f.reason,
				For: f.lasts.String(), Actor: actor()}
			if kind == "weight" {
				n, err := strconv.ParseUint(args[1], 10, 32)
				if err != nil {
					return exitError{exitUsage, fmt.Errorf("weight %q: want a whole number from 0", args[1])}
				}
				o.Weight = uint32(n)
			}
			got, err := ask(cmd, &f.clientFlags,
				func(ctx context.Context, c *api.Client) (api.Override, error) {
					return c.AddOverride(ctx, o)
				})
			if err != nil {
				return err
			}
			return printOverride(cmd, f, got)
		},
	}
	f.bindOverride(c)
	return c
}

func printOverride(cmd *cobra.Command, f *overrideFlags, o api.Override) error {
	if f.json {
		return printJSON(cmd.OutOrStdout(), o)
	}
	scope := "every steered name"
	if o.Host != "" {
		scope = o.Host
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s of %s for %s until %s; undo with: pointsman undo %s\n",
		o.Kind, o.Backend, scope, o.Expires.Format(time.RFC3339), o.ID)
	if o.Local {
		fmt.Fprintln(cmd.OutOrStdout(),
			"the shared store is out of reach: in force on this node only, shared when it returns")
	}
	return nil
}

func newUndo() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "undo ID", Short: "End an override before it expires", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (struct{}, error) {
				return struct{}{}, c.RemoveOverride(ctx, args[0])
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "override %s ended\n", args[0])
			return nil
		},
	}
	f.bind(c)
	return c
}

func newOverrides() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "overrides", Short: "List the overrides in force", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Override, error) {
				return c.Overrides(ctx)
			})
			switch {
			case err != nil:
				return err
			case f.json:
				return printJSON(cmd.OutOrStdout(), list)
			case len(list) == 0:
				fmt.Fprintln(cmd.OutOrStdout(), "no overrides in force")
			}
			writeOverrides(cmd.OutOrStdout(), time.Now(), list)
			return nil
		},
	}
	f.bind(c)
	return c
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
