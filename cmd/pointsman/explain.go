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
		Args:    takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) (api.Explanation, error) {
				return c.Explain(ctx, args[0], client)
			}, func(e api.Explanation) error { return writeExplanation(cmd.OutOrStdout(), e) })
		},
	}
	f.bind(c)
	c.Flags().StringVar(&client, "client", "127.0.0.1", "the client's `ADDRESS` or prefix")
	return c
}

// writeExplanation prints an explanation for people.
func writeExplanation(w io.Writer, e api.Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %s, by table %d (%s) compiled %s\n\n", e.Name, e.Client,
		e.TableVersion, short(e.TableHash), ago(e.Now, e.TableCompiled))
	for i, s := range e.Steps {
		fmt.Fprintf(&b, "%d. %s: %s\n", i+1, s.What, clean(s.Detail))
		for _, in := range s.Inputs {
			when := ""
			if !in.At.IsZero() {
				when = ", " + age(e.Now, in.At) + " old"
			}
			fmt.Fprintf(&b, "     %s = %s  (%s%s)\n", in.Name, clean(in.Value), in.Source, when)
		}
	}
	fmt.Fprintln(&b, "\nshares of all clients:")
	t := table(&b, "BACKEND SHARE POOL")
	for _, s := range e.Shares {
		t.add(s.Backend, percent(s.Share), s.Pool)
	}
	if err := t.flush("none"); err != nil {
		return err
	}
	kind := "one draw for this client (stickiness: spread, so the next lookup may differ)"
	if e.Sticky {
		kind = fmt.Sprintf("the backend of this client's prefix (/%d)", e.Scope)
	}
	fmt.Fprintf(&b, "\nanswer: %s, %s, ttl %ds, reason %s\n        %s\n", e.Backend,
		strings.Join(e.Answer, " "), e.TTL, e.Reason, kind)
	_, err := io.WriteString(w, cleanLines(b.String()))
	return err
}
