package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pointsman/internal/app"
	"pointsman/internal/config"
)

// configFlags are the flags of the subcommands that read a config.
type configFlags struct {
	path     string
	sets     []string
	logLevel string
}

func (f *configFlags) bind(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.sets, "set", nil,
		"override one key with `KEY=VALUE`, such as admin.listen=127.0.0.1:9053 (repeatable)")
}

// bindFile also adds the flag that names the file.
func (f *configFlags) bindFile(c *cobra.Command) {
	f.bind(c)
	c.Flags().StringVarP(&f.path, "config", "c", "", "config `FILE` (required)")
	_ = c.MarkFlagRequired("config")
}

// options turns the flags into the app's options.
func (f *configFlags) options() (app.Options, error) {
	o := app.Options{Path: f.path, Env: os.Environ(), Version: version(), Root: os.Geteuid() == 0,
		Overrides: map[string]any{}}
	if f.path == "" {
		return o, usagef("the name of the config is empty")
	}
	for _, s := range f.sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return o, usagef("--set %q: want KEY=VALUE", s)
		}
		o.Overrides[key] = value
	}
	if f.logLevel != "" {
		o.Overrides["log.level"] = f.logLevel
	}
	return o, nil
}

func newServe() *cobra.Command {
	f := &configFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a node: probe, answer DNS, cache, purge, as its config says",
		Long: "Run a node. SIGHUP (or a change of the file) reads the config again: either all of it is\n" +
			"taken or nothing changes. SIGTERM or Ctrl-C stops gracefully; a second one at once. The log\n" +
			"goes to standard error.",
		Example: "  pointsman check /etc/pointsman/pointsman.yaml\n" +
			"  pointsman serve --config /etc/pointsman/pointsman.yaml",
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			if err := app.BecomeUser(o); err != nil {
				return configExit(err)
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			o.Hup, o.LogWriter = hup, cmd.ErrOrStderr()
			a, err := app.New(cmd.Context(), o)
			if err != nil {
				return configExit(portHint(err))
			}
			// What the standard library says by itself goes the way of our own log.
			log.SetFlags(0)
			log.SetOutput(a.StandardLog())
			return a.Run(cmd.Context())
		},
	}
	f.bindFile(c)
	c.Flags().StringVar(&f.logLevel, "log-level", "", "`LEVEL` debug, info, warn or error (default: the config's)")
	return c
}

// portHint says what it takes to bind a port below 1024 where that is what went wrong.
func portHint(err error) error {
	if !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "binding") {
		return err
	}
	return fmt.Errorf("%w (ports below 1024 take the capability CAP_NET_BIND_SERVICE, which "+
		"the unit in deploy/systemd gives)", err)
}

// checked is a checked config as JSON shows it.
type checked struct {
	File     string           `json:"file"`
	Good     bool             `json:"good"`
	Summary  string           `json:"summary,omitempty"`
	Mistakes []config.Finding `json:"mistakes"`
	Warnings []config.Finding `json:"warnings"`
	Notes    []config.Finding `json:"notes"`
}

func newCheck() *cobra.Command {
	f := &configFlags{}
	var strict, asJSON bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Validate a config: everything short of opening sockets",
		Long: "Validate everything that serve would, short of opening sockets, and warn of known traps.\n" +
			"Exit codes: 0 good (warnings allowed), 2 refused; with --strict warnings are refused too.",
		Example: "  pointsman check --strict /etc/pointsman/pointsman.yaml",
		Args:    takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.path = args[0]
			o, err := f.options()
			if err != nil {
				return err
			}
			found, err := app.Check(o)
			if n := len(found.Warnings); err == nil && strict && n > 0 {
				err = fmt.Errorf("%w: --strict, and %s", app.ErrConfig, plural(n, "warning"))
			}
			if asJSON {
				return checkJSON(cmd, args[0], found, err)
			}
			for _, w := range found.Warnings {
				fmt.Fprintf(cmd.OutOrStdout(), "warning: %s\n", clean(w.String()))
			}
			for _, n := range found.Notes {
				fmt.Fprintf(cmd.OutOrStdout(), "note: %s\n", clean(n.String()))
			}
			if err != nil {
				return configExit(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good: %s\n", args[0], found.Summary)
			return nil
		},
	}
	f.bind(c)
	c.Flags().BoolVar(&strict, "strict", false, "refuse warnings too")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// checkJSON prints what was found; the exit code alone tells the rest.
func checkJSON(cmd *cobra.Command, file string, found app.Checked, err error) error {
	v := checked{File: file, Good: err == nil, Summary: found.Summary,
		Mistakes: append([]config.Finding{}, found.Mistakes...),
		Warnings: append([]config.Finding{}, found.Warnings...),
		Notes:    append([]config.Finding{}, found.Notes...)}
	var placed *config.Error
	if err != nil && !errors.As(err, &placed) {
		v.Mistakes = append(v.Mistakes, config.Finding{File: file, Message: err.Error()})
	}
	if err := printJSON(cmd.OutOrStdout(), v); err != nil || v.Good {
		return err
	}
	return exitError{code: exitUsage}
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
