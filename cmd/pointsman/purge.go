package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

type purgeFlags struct {
	clientFlags
	urls, tags, prefixes, hosts []string
	all, soft, wait             bool
	confirm, reason, key, file  string
	providers, verify           []string
	timeout                     time.Duration
}

func newPurge() *cobra.Command {
	f := &purgeFlags{}
	c := &cobra.Command{
		Use:   "purge",
		Short: "Purge every provider at once, durably, and see that it took effect",
		Long: "Purge every provider at once. The purge is on disk before this command says that it is\n" +
			"accepted; it survives crashes and is retried until each provider took it or the deadline.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 4 done but unverified.",
		Example: "  pointsman purge --url https://cdn.example.test/price.json --wait\n" +
			"  pointsman purge --tag product-42 --soft\n" +
			"  pointsman purge --all --confirm everything --reason 'bad deploy'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPurge(cmd, f) },
	}
	f.bind(c)
	fl := c.Flags()
	fl.StringArrayVar(&f.urls, "url", nil, "absolute URL (repeatable)")
	fl.StringArrayVar(&f.tags, "tag", nil, "surrogate key (repeatable)")
	fl.StringArrayVar(&f.prefixes, "prefix", nil, "host and path prefix, such as cdn.example.test/img/ (repeatable)")
	fl.StringArrayVar(&f.hosts, "host", nil, "host name (repeatable)")
	fl.BoolVar(&f.all, "all", false, "everything; needs --confirm everything")
	fl.StringVar(&f.file, "url-file", "", "file with one URL a line (- for standard input)")
	fl.BoolVar(&f.soft, "soft", false, "mark stale instead of evicting, where the provider can")
	fl.StringSliceVar(&f.providers, "provider", nil, "only these providers (default: all)")
	fl.StringArrayVar(&f.verify, "verify-url", nil, "URL to fetch to see that a tag, prefix or host purge took effect")
	fl.StringVar(&f.confirm, "confirm", "", "the word \"everything\", for --all")
	fl.StringVar(&f.reason, "reason", "", "why; goes into the audit log")
	fl.StringVar(&f.key, "idempotency-key", "", "repeat key (default: a new one)")
	fl.BoolVar(&f.wait, "wait", false, "wait until every provider is done and verified")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long --wait waits")
	c.MarkFlagsMutuallyExclusive("url", "tag", "prefix", "host", "all", "url-file")
	c.AddCommand(newPurgeStatus(), newPurgeList(), newPurgeRetry())
	return c
}

func runPurge(cmd *cobra.Command, f *purgeFlags) error {
	p, err := f.request(cmd.InOrStdin())
	if err != nil {
		return exitError{exitUsage, err}
	}
	if f.key == "" {
		f.key = rand.Text()
	}
	s, err := ask(cmd, &f.clientFlags,
		func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
			return c.Purge(ctx, p, f.key)
		})
	if err != nil {
		return purgeRefused(err, f.key)
	}
	if !f.wait {
		if f.json {
			return printJSON(cmd.OutOrStdout(), s)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "purge %s accepted (%s); see: pointsman purge status %s\n",
			s.ID, s.Durability, s.ID)
		writePurge(cmd.OutOrStdout(), s)
		return nil
	}
	return waitPurge(cmd, &f.clientFlags, s, f.timeout)
}

// purgeRefused adds what to do when it is unknown whether the purge was accepted.
func purgeRefused(err error, key string) error {
	var p *api.Problem
	if errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("%w; not known whether the purge was accepted: repeat it with "+
		"--idempotency-key %s", err, key)
}

// request turns the flags into one request.
func (f *purgeFlags) request(in io.Reader) (api.Purge, error) {
	p := api.Purge{Soft: f.soft, Providers: f.providers, VerifyURLs: f.verify,
		Reason: f.reason, Confirm: f.confirm, Actor: actor()}
	switch {
	case f.all:
		p.Kind = "everything"
		if f.confirm != "everything" {
			return p, errors.New("--all clears every cache at every provider; " +
				"say --confirm everything if that is meant")
		}
	case len(f.tags) > 0:
		p.Kind, p.Items = "tag", f.tags
	case len(f.prefixes) > 0:
		p.Kind, p.Items = "prefix", f.prefixes
	case len(f.hosts) > 0:
		p.Kind, p.Items = "host", f.hosts
	case f.file != "":
		items, err := readLines(f.file, in)
		p.Kind, p.Items = "url", items
		if err != nil {
			return p, err
		}
	default:
		p.Kind, p.Items = "url", f.urls
	}
	if p.Kind != "everything" && len(p.Items) == 0 {
		return p, errors.New("nothing to purge: give --url, --url-file, --tag, --prefix, --host or --all")
	}
	return p, nil
}

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

// waitPurge polls until the purge is final or the time is over; the exit code tells the outcome.
func waitPurge(cmd *cobra.Command, f *clientFlags, s api.PurgeStatus, limit time.Duration) error {
	end := time.Now().Add(limit)
	for !s.Final && time.Now().Before(end) && cmd.Context().Err() == nil {
		next, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
			return c.PurgeStatus(ctx, s.ID, min(10*time.Second, time.Until(end)))
		})
		if err != nil {
			return fmt.Errorf("waiting for purge %s (it is accepted and goes on): %w", s.ID, err)
		}
		s = next
	}
	if f.json {
		if err := printJSON(cmd.OutOrStdout(), s); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "purge %s: %s\n", s.ID, s.Outcome)
		writePurge(cmd.OutOrStdout(), s)
	}
	return purgeExit(s)
}

// purgeExit is the exit code of a purge's outcome.
func purgeExit(s api.PurgeStatus) error {
	switch {
	case !s.Final:
		return exitError{exitFailed, fmt.Errorf("purge %s goes on; see: pointsman purge status %s",
			s.ID, s.ID)}
	case s.Outcome == "done":
		return nil
	case s.Outcome == "partly":
		return exitError{code: exitPartly}
	case s.Outcome == "unverified":
		return exitError{code: exitUnverified}
	}
	return exitError{code: exitFailed}
}

func writePurge(w io.Writer, s api.PurgeStatus) {
	t := table(w, "PROVIDER FORM STATE ATTEMPTS DETAIL")
	for _, d := range s.Deliveries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", d.Provider, d.Form, d.State, d.Attempts, d.Detail)
	}
	t.Flush()
}

func newPurgeStatus() *cobra.Command {
	f := &clientFlags{}
	var wait bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "status ID", Short: "Show what became of a purge", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
				return c.PurgeStatus(ctx, args[0], 0)
			})
			switch {
			case err != nil:
				return err
			case wait:
				return waitPurge(cmd, f, s, timeout)
			case f.json:
				return printJSON(cmd.OutOrStdout(), s)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "purge %s of %s %s, accepted %s ago by %s for %s (%s): %s\n",
				s.ID, s.Purge.Kind, strings.Join(s.Purge.Items, " "), age(time.Now(), s.Accepted),
				s.AcceptedBy, s.Actor, s.Durability, s.Outcome)
			writePurge(cmd.OutOrStdout(), s)
			return nil
		},
	}
	f.bind(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is final")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long --wait waits")
	return c
}

func newPurgeList() *cobra.Command {
	f := &clientFlags{}
	limit := 20
	c := &cobra.Command{
		Use: "list", Short: "List the newest purges", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, f, func(ctx context.Context, c *api.Client) ([]api.PurgeStatus, error) {
				return c.Purges(ctx, limit)
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := table(cmd.OutOrStdout(), "ID ACCEPTED KIND ITEMS OUTCOME ACTOR")
			for _, s := range list {
				fmt.Fprintf(t, "%s\t%s ago\t%s\t%d\t%s\t%s\n", s.ID, age(time.Now(), s.Accepted),
					s.Purge.Kind, len(s.Purge.Items), s.Outcome, s.Actor)
			}
			return t.Flush()
		},
	}
	f.bind(c)
	c.Flags().IntVar(&limit, "limit", limit, "most purges to list")
	return c
}

func newPurgeRetry() *cobra.Command {
	f := &clientFlags{}
	c := &cobra.Command{
		Use: "retry ID", Short: "Try the failed deliveries of a purge again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := ask(cmd, f, func(ctx context.Context, c *api.Client) (api.PurgeStatus, error) {
				return c.RetryPurge(ctx, args[0])
			})
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), s)
			}
			writePurge(cmd.OutOrStdout(), s)
			return nil
		},
	}
	f.bind(c)
	return c
}
