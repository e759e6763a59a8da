package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

func newProviders() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "providers", Short: "List the providers and what each can purge", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, f, func(ctx context.Context, c *api.Client) ([]api.Provider, error) {
				return c.Providers(ctx)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return writeProviders(cmd, list)
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
		fmt.Fprintf(t, "%s\t%s", p.Name, p.Vendor)
		for _, k := range kinds {
			cell := "-"
			if kc := caps.Kinds[k]; kc.Native {
				cell = fmt.Sprintf("%d a call", kc.MaxBatch)
				if kc.Soft {
					cell += ", soft too"
				}
			}
			fmt.Fprintf(t, "\t%s", cell)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func newAudit() *cobra.Command {
	f := &clientFlags{}
	limit := 20
	c := &cobra.Command{
		Use: "audit", Short: "List who did what, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, f, func(ctx context.Context, c *api.Client) ([]api.AuditEntry, error) {
				return c.Audit(ctx, limit)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := table(cmd.OutOrStdout(), "AT NODE ACTOR FROM ACTION TARGET REASON")
			for _, e := range list {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.At.UTC().Format(time.RFC3339),
					e.Node, e.Actor, e.From, e.Action, e.Target, e.Reason)
			}
			return t.Flush()
		},
	}
	f.bind(c)
	c.Flags().IntVar(&limit, "limit", limit, "most entries to list")
	return c
}

func newReload() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "reload", Short: "Make the node read its config again: all of it, or nothing",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.Reloaded, error) {
				return c.Reload(ctx)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			for _, w := range r.Warnings {
				fmt.Fprintf(cmd.OutOrStdout(), "warning: %s\n", w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "config %s in force (changed: %t)\n",
				short(r.ConfigHash), r.Changed)
			return nil
		},
	}
	f.bind(c)
	return c
}
