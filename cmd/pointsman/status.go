package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// certWarning is how long before its end a backend's certificate is told of.
const certWarning = 21 * 24 * time.Hour

func newStatus() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the node knows, how old that is, and what it answers",
		Long: "Show what the node knows, how old that is, and what it answers.\n\n" +
			"TARGET is the share of answers that the table gives a backend, ACTUAL what it had of those of\n" +
			"the last minute, ANSWERS its answers since the node started.",
		Example: "  pointsman status\n  pointsman status --admin https://node2.example.test:8053 --token-file token",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) (api.Status, error) {
				return c.Status(ctx)
			}, func(s api.Status) error { return writeStatus(cmd.OutOrStdout(), s) })
		},
	}
	f.bind(c)
	return c
}

// writeStatus prints a status for people.
func writeStatus(w io.Writer, s api.Status) error {
	var b strings.Builder
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY"
	}
	fmt.Fprintf(&b, "node %s, version %s, up %s, %s\n", s.Node, s.Version,
		age(s.Now, s.Started), ready)
	fmt.Fprintf(&b, "config %s, loaded %s; table %d (%s), compiled %s; store %s\n",
		short(s.ConfigHash), ago(s.Now, s.ConfigLoaded), s.TableVersion, short(s.TableHash),
		ago(s.Now, s.TableCompiled), storeLine(s))
	for _, warning := range s.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", clean(warning))
	}
	for _, d := range s.Backends {
		if d.CertExpires != nil && d.CertExpires.Sub(s.Now) < certWarning {
			fmt.Fprintf(&b, "warning: the certificate of %s %s\n", d.Name, certLine(s.Now, *d.CertExpires))
		}
	}
	for _, h := range s.Hosts {
		fmt.Fprintf(&b, "\n%s  ttl %gs  reason: %s\n", h.Host, h.TTL, h.Reason)
		if err := writeHost(&b, s, h); err != nil {
			return err
		}
	}
	if len(s.Overrides) > 0 {
		fmt.Fprintln(&b)
		if err := writeOverrides(&b, s.Now, s.Overrides); err != nil {
			return err
		}
	}
	if s.Drill != nil {
		fmt.Fprintf(&b, "\ndrill %s on %s: %s: %s (its fault ends in %s)\n", s.Drill.ID,
			s.Drill.Backend, s.Drill.State, clean(s.Drill.Message), span(s.Drill.Ends.Sub(s.Now)))
	}
	if e := s.Edge; e != nil {
		fmt.Fprintf(&b, "\nedge: %d requests, %s hits, %d objects, %s of %s\n", e.Requests,
			percent(ratio(e.Hits, e.Requests)), e.Objects, size(e.Bytes), size(e.Limit))
	}
	_, err := io.WriteString(w, cleanLines(b.String()))
	return err
}

func certLine(now, end time.Time) string {
	if end.Before(now) {
		return "expired " + ago(now, end)
	}
	return "expires in " + span(end.Sub(now))
}

func writeHost(w io.Writer, s api.Status, h api.HostStatus) error {
	byName := map[string]api.Backend{}
	for _, b := range s.Backends {
		byName[b.Name] = b
	}
	t := table(w, "BACKEND POOL TARGET ACTUAL ANSWERS STATE SINCE LATENCY MEASURED WHY")
	for _, b := range h.Backends {
		d := byName[b.Backend]
		measured := "never"
		if d.LastSample != nil {
			measured = ago(s.Now, *d.LastSample)
		}
		t.add(b.Backend, b.Pool, percent(b.Target), percent(b.Actual), b.Answers, d.State,
			age(s.Now, d.Since), latencyOf(d), measured, whyOf(s, h.Host, d))
	}
	return t.flush("no backends")
}

// whyOf says why a backend of a name stands as it does: an operator's overrides first, then what
// feeds and the config say, as they count more than its health.
func whyOf(s api.Status, host string, b api.Backend) string {
	var acts []string
	for _, o := range s.Overrides {
		if o.Backend != b.Name || o.Host != "" && o.Host != host {
			continue
		}
		act := map[string]string{"drain": "drained", "pin": "pinned", "fence": "fenced"}[o.Kind]
		if act == "" {
			act = kindOf(o)
		}
		if !slices.Contains(acts, act) {
			acts = append(acts, act)
		}
	}
	acts = append(acts, b.Metadata...)
	if len(acts) == 0 {
		return b.Reason
	}
	return strings.Join(acts, ", ") + "; " + b.Reason
}

// latencyOf is a backend's latency, or a dash before it was measured.
func latencyOf(b api.Backend) string {
	if b.LastSample == nil {
		return "-"
	}
	return millis(time.Duration(b.LatencyMS * float64(time.Millisecond)))
}

func storeLine(s api.Status) string {
	if s.Store.Reachable {
		return s.Store.Kind + " reachable"
	}
	return fmt.Sprintf("%s OUT OF REACH for %s (%s): answering from what this node knows",
		s.Store.Kind, age(s.Now, s.Store.Since), clean(s.Store.Error))
}
