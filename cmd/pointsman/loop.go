package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

func newLoop() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use:     "loop",
		Short:   "Show what the slow loop moves, and why",
		Example: "  pointsman loop",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) (api.Loop, error) {
				return c.Loop(ctx)
			}, func(l api.Loop) error { return writeLoop(cmd.OutOrStdout(), l) })
		},
	}
	f.bind(c)
	return c
}

// writeLoop prints what the slow loop does for people.
func writeLoop(w io.Writer, l api.Loop) error {
	var b strings.Builder
	switch {
	case l.At.IsZero() && !l.Active:
		fmt.Fprintln(&b, "the slow loop has nothing to do: every host has balance queries")
	case l.At.IsZero():
		fmt.Fprintln(&b, "no guidance yet: weights divide all answers")
	default:
		who := l.Leader
		if l.Leading {
			who += " (this node)"
		}
		fmt.Fprintf(&b, "led by %s, guidance %d/%d decided %s, steps of %gs\n", who, l.Epoch, l.Seq,
			ago(l.Now, l.At), l.Interval)
	}
	if l.Problem != "" {
		fmt.Fprintf(&b, "problem: %s\n", clean(l.Problem))
	}
	for _, s := range l.Scopes {
		name := s.Host
		if s.Place != "" {
			name += " at " + s.Place
		}
		fmt.Fprintf(&b, "\n%s\n", name)
		for part := range strings.SplitSeq(s.Why, "; ") {
			fmt.Fprintf(&b, "  %s\n", clean(part))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Limits)) {
		fmt.Fprintf(&b, "\n%s is held to %s of its weight while its cache warms\n", name,
			percent(l.Limits[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(l.MonthGB)) {
		fmt.Fprintf(&b, "\n%s carried %.1f GB this month\n", name, l.MonthGB[name])
	}
	_, err := io.WriteString(w, cleanLines(b.String()))
	return err
}
