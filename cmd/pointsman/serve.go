package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pointsman/internal/app"
)

// configFlags are the flags of the subcommands that read a config.
type configFlags struct {
	path     string
	sets     []string
	logLevel string
}

func (f *configFlags) bind(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.sets, "set", nil,
		"override one key, such as --set admin.listen=127.0.0.1:9053 (repeatable)")
	c.Flags().StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error")
}

// options turns the flags into the app's options.
func (f *configFlags) options() (app.Options, error) {
	o := app.Options{Path: f.path, Env: os.Environ(), Version: version(),
		Overrides: map[string]any{}}
	for _, s := range f.sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return o, exitError{exitUsage, fmt.Errorf("--set %q: want KEY=VALUE", s)}
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
			"taken or nothing changes. SIGTERM or Ctrl-C stops gracefully; a second one at once.",
		Example: "  pointsman check /etc/pointsman/pointsman.yaml\n" +
			"  pointsman serve --config /etc/pointsman/pointsman.yaml",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			o.Hup, o.LogWriter = hup, cmd.ErrOrStderr()
			a, err := app.New(cmd.Context(), o)
			if err != nil {
				return configExit(err)
			}
			return a.Run(cmd.Context())
		},
	}
	f.bind(c)
	c.Flags().StringVarP(&f.path, "config", "c", "", "config file (required)")
	_ = c.MarkFlagRequired("config")
	return c
}

// configExit gives a refused config the exit code of usage.
func configExit(err error) error {
	if errors.Is(err, app.ErrConfig) {
		return exitError{exitUsage, err}
	}
	return err
}

func newCheck() *cobra.Command {
	f := &configFlags{}
	var strict bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Validate a config: everything short of opening sockets",
		Long: "Validates everything that serve would, short of opening sockets, and warns of known traps.\n" +
			"Exit codes: 0 good (warnings allowed), 2 refused; with --strict warnings are refused too.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.path = args[0]
			o, err := f.options()
			if err != nil {
				return err
			}
			findings, err := app.Check(o)
			for _, w := range findings.Warnings {
				fmt.Fprintf(cmd.OutOrStdout(), "warning: %s\n", w)
			}
			if err != nil {
				return configExit(err)
			}
			if n := len(findings.Warnings); strict && n > 0 {
				return exitError{exitUsage, fmt.Errorf("%s: %d warnings, and --strict", args[0], n)}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good: %s\n", args[0], findings.Summary)
			return nil
		},
	}
	f.bind(c)
	c.Flags().BoolVar(&strict, "strict", false, "refuse warnings too")
	return c
}
