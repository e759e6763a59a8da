package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

func newProviders() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "providers", Short: "List the providers and what each can purge", Args: takes(),
		Example: "  pointsman providers",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Provider, error) {
				return c.Providers(ctx)
			}, func(list []api.Provider) error { return writeProviders(cmd, list) })
		},
	}
	f.bind(c)
	return c
}

func writeProviders(cmd *cobra.Command, list []api.Provider) error {
	type capability struct {
		Native, Soft bool
		MaxBatch     int `json:"max_batch"`
	}
	kinds := []string{"url", "prefix", "host", "tag", "everything"}
	t := table(cmd.OutOrStdout(), "NAME KIND URL PREFIX HOST TAG EVERYTHING")
	for _, p := range list {
		var caps struct{ Kinds map[string]capability }
		if err := json.Unmarshal(p.Capabilities, &caps); err != nil {
			return fmt.Errorf("decoding the capabilities of %s: %w", p.Name, err)
		}
		row := []any{p.Name, p.Vendor}
		for _, k := range kinds {
			cell := "no"
			if kc := caps.Kinds[k]; kc.Native {
				cell = fmt.Sprintf("%d a call", kc.MaxBatch)
				if kc.Soft {
					cell += ", soft too"
				}
			}
			row = append(row, cell)
		}
		t.add(row...)
	}
	return t.flush("no providers")
}

func newAudit() *cobra.Command {
	f := &clientFlags{}
	limit := 20
	c := &cobra.Command{
		Use: "audit", Short: "List who did what, newest first", Args: takes(),
		Example: "  pointsman audit --limit 100",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return tell(cmd, f, func(ctx context.Context, c *api.Client) ([]api.AuditEntry, error) {
				return c.Audit(ctx, limit)
			}, func(list []api.AuditEntry) error {
				t := table(cmd.OutOrStdout(), "AT NODE ACTOR FROM ACTION TARGET REASON")
				for _, e := range list {
					t.add(e.At.UTC().Format(time.RFC3339), e.Node, e.Actor, e.From, e.Action,
						e.Target, e.Reason)
				}
				return t.flush("no entries")
			})
		},
	}
	f.bind(c)
	bindLimit(c, &limit)
	return c
}

// bindLimit adds the flag that bounds a list.
func bindLimit(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", *limit, "most entries to list, `N` from 1 to 1000")
}

func checkLimit(n int) error {
	if n < 1 || n > 1000 {
		return usagef("--limit %d: want 1 to 1000", n)
	}
	return nil
}

func newReload() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "reload", Short: "Make the node read its config again: all of it, or nothing",
		Long: "Make the node read its config again. Either all of it is in force afterwards, or nothing\n" +
			"has changed and every mistake is listed. Exit codes: 0 in force, 2 refused.",
		Example: "  pointsman reload",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := tell(cmd, f, func(ctx context.Context, c *api.Client) (api.Reloaded, error) {
				return c.Reload(ctx)
			}, func(r api.Reloaded) error {
				for _, w := range r.Warnings {
					fmt.Fprintf(cmd.OutOrStdout(), "warning: %s\n", clean(w))
				}
				what := "unchanged"
				if r.Changed {
					what = "new"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "config %s in force (%s)\n", short(r.ConfigHash), what)
				return nil
			})
			var p *api.Problem
			if errors.As(err, &p) && p.Code == api.CodeRefused {
				return exitError{exitUsage, err}
			}
			return err
		},
	}
	f.bind(c)
	return c
}
