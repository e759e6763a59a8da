package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

func newExplain() *cobra.Command {
	f := &clientFlags{}
	var client string
	c := &cobra.Command{
		Use:     "explain NAME",
		Short:   "Show why a client gets the answer it gets: each step, each input with its age",
		Example: "  pointsman explain cdn.example.test --client 192.0.2.7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.Explanation, error) {
				return c.Explain(ctx, args[0], client)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), e)
			}
			writeExplanation(cmd.OutOrStdout(), e)
			return nil
		},
	}
	f.bind(c)
	c.Flags().StringVar(&client, "client", "127.0.0.1", "the client's address or prefix")
	return c
}

// writeExplanation prints an explanation for people.
func writeExplanation(w io.Writer, e api.Explanation) {
	fmt.Fprintf(w, "%s for %s, by table %d (%s) compiled %s ago\n\n", e.Name, e.Client,
		e.TableVersion, short(e.TableHash), age(e.Now, e.TableCompiled))
	for i, s := range e.Steps {
		fmt.Fprintf(w, "%d. %s: %s\n", i+1, s.What, s.Detail)
		for _, in := range s.Inputs {
			when := ""
			if !in.At.IsZero() {
				when = ", " + age(e.Now, in.At) + " old"
			}
			fmt.Fprintf(w, "     %s = %s  (%s%s)\n", in.Name, in.Value, in.Source, when)
		}
	}
	fmt.Fprintln(w, "\nshares of all clients:")
	for _, s := range e.Shares {
		fmt.Fprintf(w, "  %-16s %6s  pool %s\n", s.Backend, percent(s.Share), s.Pool)
	}
	kind := "one draw for this client (stickiness: spread, so the next lookup may differ)"
	if e.Sticky {
		kind = fmt.Sprintf("the backend of this client's prefix (/%d)", e.Scope)
	}
	fmt.Fprintf(w, "\nanswer: %s, %s, ttl %ds, reason %s\n        %s\n", e.Backend,
		strings.Join(e.Answer, " "), e.TTL, e.Reason, kind)
}
