package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

func newStatus() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the node knows, how old that is, and what it answers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.Status, error) {
				return c.Status(ctx)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), s)
			}
			writeStatus(cmd.OutOrStdout(), s)
			return nil
		},
	}
	f.bind(c)
	return c
}

// writeStatus prints a status for people.
func writeStatus(w io.Writer, s api.Status) {
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY"
	}
	fmt.Fprintf(w, "node %s, version %s, up %s, %s\n", s.Node, s.Version,
		age(s.Now, s.Started), ready)
	fmt.Fprintf(w, "config %s, loaded %s ago; table %d (%s), compiled %s ago; store %s\n",
		short(s.ConfigHash), age(s.Now, s.ConfigLoaded), s.TableVersion, short(s.TableHash),
		age(s.Now, s.TableCompiled), storeLine(s))
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	for _, h := range s.Hosts {
		fmt.Fprintf(w, "\n%s  ttl %gs  reason: %s\n", h.Host, h.TTL, h.Reason)
		writeHost(w, s, h)
	}
	writeOverrides(w, s.Now, s.Overrides)
	if s.Drill != nil {
		fmt.Fprintf(w, "\ndrill %s on %s: %s, ends in %s\n", s.Drill.ID, s.Drill.Backend,
			s.Drill.State, span(s.Drill.Ends.Sub(s.Now)))
	}
	if e := s.Edge; e != nil {
		fmt.Fprintf(w, "\nedge: %d requests, %s hits, %d objects, %s of %s\n", e.Requests,
			percent(ratio(e.Hits, e.Requests)), e.Objects, size(e.Bytes), size(e.Limit))
	}
}

func writeHost(w io.Writer, s api.Status, h api.HostStatus) {
	byName := map[string]api.Backend{}
	for _, b := range s.Backends {
		byName[b.Name] = b
	}
	t := table(w, "BACKEND POOL TARGET ACTUAL ANSWERS STATE SINCE LATENCY MEASURED WHY")
	for _, b := range h.Backends {
		d := byName[b.Backend]
		measured := "never"
		if d.LastSample != nil {
			measured = age(s.Now, *d.LastSample) + " ago"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%.1fms\t%s\t%s\n", b.Backend, b.Pool,
			percent(b.Target), percent(b.Actual), b.Answers, d.State, age(s.Now, d.Since),
			d.LatencyMS, measured, d.Reason)
	}
	t.Flush()
}

func writeOverrides(w io.Writer, now time.Time, os []api.Override) {
	if len(os) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := table(w, "OVERRIDE BACKEND HOST ENDS BY REASON ID")
	for _, o := range os {
		kind := o.Kind
		if o.Kind == "weight" {
			kind = fmt.Sprintf("weight %d", o.Weight)
		}
		if o.Local {
			kind += " (this node only)"
		}
		host := o.Host
		if host == "" {
			host = "all"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\tin %s\t%s\t%s\t%s\n", kind, o.Backend, host,
			span(o.Expires.Sub(now)), o.Actor, o.Reason, o.ID)
	}
	t.Flush()
}

func storeLine(s api.Status) string {
	if s.Store.Reachable {
		return s.Store.Kind + " reachable"
	}
	return fmt.Sprintf("%s OUT OF REACH for %s (%s): answering from what this node knows",
		s.Store.Kind, age(s.Now, s.Store.Since), s.Store.Error)
}

func short(hash string) string { return hash[:min(len(hash), 12)] }

func percent(share float64) string { return fmt.Sprintf("%.1f%%", share*100) }

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// size prints bytes in binary units.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return strings.Replace(fmt.Sprintf("%.1f%s", f, units[i]), ".0", "", 1)
}
