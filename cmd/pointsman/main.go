// Command pointsman steers a hostname's traffic between CDNs: it probes them, answers the
// hostname's DNS, caches in its own edge, purges every provider with one command and drills
// failovers. main dispatches; each subcommand has a file of its own. Nothing here decides
// anything: `serve` and `demo` run internal/app, `sim` plays worlds, the rest talk to the admin API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// The exit codes of every subcommand.
const (
	exitFailed     = 1
	exitUsage      = 2 // also: a config that was refused
	exitPartly     = 3
	exitUnverified = 4
)

// helpWidth is how wide the help of flags may be, in columns.
const helpWidth = 96

// exitError carries an exit code with an error; err may be nil when all was printed already.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: the default handling is back after the first.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line until it is done or ctx ends, and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	began := watchRuns(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !*began {
		err = notUnderstood(cmd, err)
	}
	return report(cmd, err, errOut)
}

// watchRuns notes whether a command began to run. Until then, every error is about the command
// line itself: cobra gives those no type of their own.
func watchRuns(root *cobra.Command) *bool {
	began := new(bool)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if run := c.RunE; run != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				*began = true
				return run(cmd, args)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return began
}

// report prints an error once and chooses the exit code.
func report(cmd *cobra.Command, err error, errOut io.Writer) int {
	if err == nil {
		return 0
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(errOut, "pointsman: %s\n", cleanLines(msg))
	}
	var u usageError
	if errors.As(err, &u) {
		fmt.Fprintf(errOut, "Run '%s --help' for usage.\n", cmd.CommandPath())
		return exitUsage
	}
	var e exitError
	if errors.As(err, &e) {
		return e.code
	}
	var p *api.Problem
	if errors.As(err, &p) && (p.Code == api.CodeBadRequest || len(p.Findings) > 0) {
		return exitUsage // the node says that it was asked for what cannot be
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "pointsman",
		Short: "Steer a hostname's traffic between CDNs: probe, answer, cache, purge, drill",
		Long: "Pointsman steers a hostname's traffic between CDNs.\n\n" +
			"Try it without any set-up:      pointsman demo\n" +
			"Run it for real:                pointsman check FILE && pointsman serve --config FILE\n" +
			"Ask a running node:             pointsman status\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage or config, 3 partly done, 4 done but unverified.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	asGroup(root)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ",
		fmt.Sprintf(".FlagUsagesWrapped %d ", helpWidth)))
	root.SetFlagErrorFunc(badFlag)
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "ask", Title: "Ask a running node:"},
		&cobra.Group{ID: "act", Title: "Act on a running node:"},
		&cobra.Group{ID: "more", Title: "More:"})
	root.SetHelpCommand(newHelp())
	root.SetCompletionCommandGroupID("more")
	add := func(group string, cs ...*cobra.Command) {
		for _, c := range cs {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newServe(), newDemo(), newCheck(), newProbe())
	add("ask", newStatus(), newExplain(), newLoop(), newOverrides(), newProviders(), newAudit())
	add("act", newDrain(), newPin(), newWeight(), newUndo(), newFeed(), newPurge(), newDrill(), newReload())
	add("more", newPlan(), newReplay(), newSim(), newDashboards(), newVersion())
	return root
}
