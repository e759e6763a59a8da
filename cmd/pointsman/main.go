// Command pointsman steers a hostname's traffic between CDNs: it probes them, answers the
// hostname's DNS, caches in its own edge, purges every provider with one command and drills
// failovers. main dispatches; each subcommand has a file of its own. Nothing here decides
// anything: `serve` and `demo` run internal/app, the rest talk to the admin API.
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
)

// The exit codes of every subcommand.
const (
	exitFailed     = 1
	exitUsage      = 2 // also: a config that was refused
	exitPartly     = 3
	exitUnverified = 4
)

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
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: the default handling is back after the first.
	context.AfterFunc(ctx, stop)

	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	return report(root.ExecuteContext(ctx), errOut)
}

// report prints an error once and chooses the exit code.
func report(err error, errOut io.Writer) int {
	if err == nil {
		return 0
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(errOut, "pointsman: %s\n", msg)
	}
	var e exitError
	switch {
	case errors.As(err, &e):
		return e.code
	case isUsage(err):
		fmt.Fprintln(errOut, "Run 'pointsman --help' or 'pointsman COMMAND --help' for usage.")
		return exitUsage
	}
	return exitFailed
}

// isUsage recognises cobra's and pflag's own complaints, which carry no type.
func isUsage(err error) bool {
	for _, s := range []string{"unknown command", "unknown flag", "unknown shorthand",
		"flag needs an argument", "invalid argument", "required flag", "accepts ",
		"requires at least", "if any flags in the group", "at least one of the flags"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "pointsman",
		Short: "Steer a hostname's traffic between CDNs: probe, answer, cache, purge, drill",
		Long: "Pointsman steers a hostname's traffic between CDNs.\n\n" +
			"Try it without any set-up:      pointsman demo\n" +
			"Run it for real:                pointsman check FILE && pointsman serve --config FILE\n" +
			"Ask a running node:             pointsman status",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "ask", Title: "Ask a running node:"},
		&cobra.Group{ID: "act", Title: "Act on a running node:"})
	root.SetHelpCommandGroupID("ask")
	root.SetCompletionCommandGroupID("ask")
	add := func(group string, cs ...*cobra.Command) {
		for _, c := range cs {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newServe(), newDemo(), newCheck(), newProbe(), newDashboards(), newVersion())
	add("ask", newStatus(), newExplain(), newOverrides(), newProviders(), newAudit())
	add("act", newDrain(), newPin(), newWeight(), newUndo(), newPurge(), newDrill(), newReload())
	return root
}
