package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// Limits of waiting for a purge.
const (
	defaultTimeout = 5 * time.Minute
	pollLimit      = 10 * time.Second // how long one question to the node waits for the end
	pollPause      = time.Second      // before the node is asked again after it was not reached
)

const purgeExits = "Exit codes with --wait: 0 done, 1 failed or not done in time, 2 usage,\n" +
	"3 partly done, 4 done but unverified. Without it: 0 "

type purgeFlags struct {
	clientFlags
	waitFlags
	urls, tags, prefixes, hosts []string
	all, soft                   bool
	confirm, reason, key, file  string
	providers, verify           []string
}

// waitFlags say whether and how long to wait for a purge.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (f *waitFlags) bind(c *cobra.Command) {
	c.Flags().BoolVar(&f.wait, "wait", false, "wait until every provider is done and verified")
	c.Flags().DurationVar(&f.timeout, "timeout", defaultTimeout, "`DURATION` that --wait waits at most")
}

func (f *waitFlags) check() error {
	if f.timeout <= 0 {
		return usagef("--timeout %s: want more than nothing, such as 30s", f.timeout)
	}
	return nil
}

func newPurge() *cobra.Command {
	f := &purgeFlags{}
	c := &cobra.Command{
		Use:   "purge",
		Short: "Purge every provider at once, durably, and see that it took effect",
		Long: "Purge every provider at once. The purge is on disk before this command says that it is\n" +
			"accepted; it survives crashes and is retried until each provider took it or the deadline.\n\n" +
			purgeExits + "accepted.",
		Example: "  pointsman purge --url https://cdn.example.test/price.json --wait\n" +
			"  pointsman purge --tag product-42 --soft\n" +
			"  pointsman purge --all --confirm everything --reason 'bad deploy'",
		RunE: func(cmd *cobra.Command, _ []string) error { return runPurge(cmd, f) },
	}
	f.clientFlags.bind(c)
	f.waitFlags.bind(c)
	fl := c.Flags()
	fl.StringArrayVar(&f.urls, "url", nil, "absolute `URL` (repeatable)")
	fl.StringArrayVar(&f.tags, "tag", nil, "surrogate key `TAG` (repeatable)")
	fl.StringArrayVar(&f.prefixes, "prefix", nil,
		"`HOST/PATH`, and all that begins like it, such as cdn.example.test/img/ (repeatable)")
	fl.StringArrayVar(&f.hosts, "host", nil, "host `NAME` (repeatable)")
	fl.BoolVar(&f.all, "all", false, "everything; needs --confirm everything")
	fl.StringVar(&f.file, "url-file", "", "`FILE` with one URL a line (- for standard input)")
	fl.BoolVar(&f.soft, "soft", false, "mark stale instead of evicting, where the provider can")
	fl.StringSliceVar(&f.providers, "provider", nil, "only this `PROVIDER` (repeatable; default: all)")
	fl.StringArrayVar(&f.verify, "verify-url", nil,
		"`URL` to fetch to see that a tag, prefix or host purge took effect (repeatable)")
	fl.StringVar(&f.confirm, "confirm", "", "the `WORD` everything, for --all")
	fl.StringVar(&f.reason, "reason", "", "`TEXT` for the audit log")
	fl.StringVar(&f.key, "idempotency-key", "", "`KEY` with which a repeat is harmless (default: a new one)")
	asGroup(c)
	c.AddCommand(newPurgeStatus(), newPurgeList(), newPurgeRetry())
	return c
}

func runPurge(cmd *cobra.Command, f *purgeFlags) error {
	p, err := f.request(cmd.InOrStdin())
	if err != nil {
		return err
	}
	if err := f.waitFlags.check(); err != nil {
		return err
	}
	if f.key == "" {
		f.key = rand.Text()
	}
	s, err := ask(cmd.Context(), &f.clientFlags,
		func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
			return c.Purge(ctx, p, f.key)
		})
	if err != nil {
		return purgeRefused(err, f.key)
	}
	if f.wait {
		fmt.Fprintf(cmd.ErrOrStderr(), "purge %s accepted (%s); waiting up to %s for its end\n",
			clean(s.ID), clean(s.Durability), span(f.timeout))
		return waitPurge(cmd, &f.clientFlags, s, f.timeout)
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), s)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "purge %s accepted (%s); see: pointsman purge status %s\n",
		clean(s.ID), clean(s.Durability), clean(s.ID))
	writeWarnings(cmd.OutOrStdout(), s)
	return writeDeliveries(cmd.OutOrStdout(), s)
}

// purgeRefused adds whether the purge may have been accepted, and what to do then. What could
// not even connect has sent nothing.
func purgeRefused(err error, key string) error {
	var u usageError
	if stated(err) || errors.As(err, &u) {
		return err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w\nThe purge was not sent, so nothing was purged", err)
	}
	return fmt.Errorf("%w\nIt is not known whether the purge was accepted. To repeat it without "+
		"harm, add: --idempotency-key %s", err, key)
}

// request turns the flags into one request.
func (f *purgeFlags) request(in io.Reader) (api.Purge, error) {
	p := api.Purge{Soft: f.soft, Providers: f.providers, VerifyURLs: f.verify,
		Reason: f.reason, Confirm: f.confirm}
	var given []string
	for _, k := range []struct {
		flag, kind string
		items      []string
		given      bool
	}{
		{"--url", "url", f.urls, len(f.urls) > 0}, {"--tag", "tag", f.tags, len(f.tags) > 0},
		{"--prefix", "prefix", f.prefixes, len(f.prefixes) > 0},
		{"--host", "host", f.hosts, len(f.hosts) > 0},
		{"--all", "everything", nil, f.all}, {"--url-file", "url", nil, f.file != ""},
	} {
		if k.given {
			given = append(given, k.flag)
			p.Kind, p.Items = k.kind, k.items
		}
	}
	switch {
	case len(given) == 0:
		return p, usagef("nothing to purge: give --url, --url-file, --tag, --prefix, --host or --all")
	case len(given) > 1:
		return p, usagef("one purge is of one kind, not of %s together", strings.Join(given, " and "))
	case f.all && f.confirm != p.Kind:
		return p, usagef("--all clears every cache at every provider; " +
			"say --confirm everything if that is meant")
	case f.file != "":
		items, err := readLines(f.file, in)
		if err != nil {
			return p, usagef("--url-file: %w", err)
		}
		if len(items) == 0 {
			return p, usagef("--url-file %s holds no URL", f.file)
		}
		p.Items = items
	}
	return p, nil
}

// readLines reads a file, or in for "-": one item a line, without blank lines and # comments.
func readLines(path string, in io.Reader) ([]string, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	var lines []string
	s := bufio.NewScanner(in)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, s.Err()
}

// waitPurge polls until the purge is final or the time is over; the exit code tells the
// outcome. A node that is away for a while, such as for a restart, is waited for: the purge is
// on its disk.
func waitPurge(cmd *cobra.Command, f *clientFlags, s api.PurgeStatus, limit time.Duration) error {
	end := time.Now().Add(limit)
	var away error
	for !s.Final && time.Now().Before(end) && cmd.Context().Err() == nil {
		next, err := ask(cmd.Context(), f, func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
			return c.PurgeStatus(ctx, s.ID, min(pollLimit, time.Until(end)))
		})
		switch {
		case err == nil:
			s = next
		case stated(err):
			return fmt.Errorf("waiting for purge %s (it is accepted and goes on): %w", s.ID, err)
		default:
			if away == nil && cmd.Context().Err() == nil {
				why, _, _ := strings.Cut(err.Error(), "\n")
				fmt.Fprintf(cmd.ErrOrStderr(), "the node is away, waiting for it: %s\n", clean(why))
			}
			pause(cmd.Context(), pollPause)
		}
		away = err
	}
	if err := writePurge(cmd, f, s); err != nil {
		return err
	}
	return purgeExit(s)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// purgeExit is the exit code of a purge's outcome.
func purgeExit(s api.PurgeStatus) error {
	switch {
	case !s.Final:
		return fmt.Errorf("purge %s goes on; see: pointsman purge status %s", s.ID, s.ID)
	case s.Outcome == "done":
		return nil
	case s.Outcome == "partly":
		return exitError{code: exitPartly}
	case s.Outcome == "unverified":
		return exitError{code: exitUnverified}
	}
	return exitError{code: exitFailed}
}

// writePurge prints a purge and what became of it at each provider.
func writePurge(cmd *cobra.Command, f *clientFlags, s api.PurgeStatus) error {
	w := cmd.OutOrStdout()
	if f.json {
		return printJSON(w, s)
	}
	fmt.Fprintf(w, "purge %s of %s, accepted %s by %s for %s (%s): %s\n", clean(s.ID),
		whatPurged(s.Purge), ago(time.Now(), s.Accepted), clean(s.AcceptedBy), clean(s.Actor),
		clean(s.Durability), clean(s.Outcome))
	writeWarnings(w, s)
	return writeDeliveries(w, s)
}

// whatPurged names a purge's kind and its first items.
func whatPurged(p api.Purge) string {
	const shown = 3
	s := p.Kind
	if p.Soft {
		s = "soft " + s
	}
	if len(p.Items) > 0 {
		s += " " + strings.Join(p.Items[:min(len(p.Items), shown)], " ")
	}
	if more := len(p.Items) - shown; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return clean(s)
}

// writeWarnings prints what of a purge may not mean everywhere what was meant.
func writeWarnings(w io.Writer, s api.PurgeStatus) {
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "warning: %s\n", clean(warning))
	}
}

func writeDeliveries(w io.Writer, s api.PurgeStatus) error {
	t := table(w, "PROVIDER FORM STATE ATTEMPTS NEXT DETAIL")
	for _, d := range s.Deliveries {
		next := "-"
		if d.Next != nil {
			next = "in " + span(time.Until(*d.Next))
		}
		t.add(d.Provider, d.Form, d.State, d.Attempts, next, d.Detail)
	}
	return t.flush("no provider to purge")
}

func newPurgeStatus() *cobra.Command {
	f := &clientFlags{}
	var wait waitFlags
	c := &cobra.Command{
		Use: "status ID", Short: "Show what became of a purge", Args: takes("ID"),
		Long:    "Show what became of a purge.\n\n" + purgeExits + "whatever became of it.",
		Example: "  pointsman purge list\n  pointsman purge status 01M83ZQP9K5H1SQ2YRPCE1KN45 --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wait.check(); err != nil {
				return err
			}
			s, err := ask(cmd.Context(), f, func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
				return c.PurgeStatus(ctx, args[0], 0)
			})
			if err != nil {
				return err
			}
			if wait.wait {
				return waitPurge(cmd, f, s, wait.timeout)
			}
			return writePurge(cmd, f, s)
		},
	}
	f.bind(c)
	wait.bind(c)
	return c
}

func newPurgeList() *cobra.Command {
	f := &clientFlags{}
	limit := 20
	c := &cobra.Command{
		Use: "list", Short: "List the newest purges", Args: takes(),
		Example: "  pointsman purge list --limit 100",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			return tell(cmd, f, func(ctx context.Context, c *api.Client) ([]api.PurgeStatus, error) {
				return c.Purges(ctx, limit)
			}, func(list []api.PurgeStatus) error {
				t := table(cmd.OutOrStdout(), "ID ACCEPTED OUTCOME BY WHAT")
				for _, s := range list {
					t.add(s.ID, ago(time.Now(), s.Accepted), s.Outcome, s.Actor, whatPurged(s.Purge))
				}
				return t.flush("no purges")
			})
		},
	}
	f.bind(c)
	bindLimit(c, &limit)
	return c
}

func newPurgeRetry() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "retry ID", Short: "Try the failed deliveries of a purge again", Args: takes("ID"),
		Example: "  pointsman purge retry 01M83ZQP9K5H1SQ2YRPCE1KN45",
		RunE: func(cmd *cobra.Command, args []string) error {
			return tell(cmd, f, func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
				return c.RetryPurge(ctx, args[0])
			}, func(s api.PurgeStatus) error { return writePurge(cmd, f, s) })
		},
	}
	f.bind(c)
	return c
}
