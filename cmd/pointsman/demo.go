package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
	"pointsman/internal/demo"
)

type demoFlags struct {
	dns, admin        string
	httpPort, apiPort uint16
	plain, printOnly  bool
	logFile           string
}

func newDemo() *cobra.Command {
	f := &demoFlags{}
	p := demo.DefaultPorts()
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job on loopback with nothing prepared",
		Long: "Starts an origin, three stand-ins for commercial CDNs, clients, and a real node with its\n" +
			"edge cache, nameserver, admin API and console, all on loopback, without root and without a\n" +
			"config. Ctrl-C ends all of it and leaves nothing behind.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.dns, "dns", p.DNS.String(), "address of the nameserver, UDP and TCP")
	fl.StringVar(&f.admin, "admin", p.Admin.String(), "address of the admin API and console")
	fl.Uint16Var(&f.httpPort, "http-port", p.HTTP, "port of the CDNs, the edge and the origin (127.0.0.11 to .15)")
	fl.Uint16Var(&f.apiPort, "api-port", p.API, "port of the CDNs' purge APIs")
	fl.BoolVar(&f.plain, "plain", false, "print lines instead of a live screen (default when not on a terminal)")
	fl.StringVar(&f.logFile, "log-file", "", "write the node's log to this file (default: warnings go to the screen)")
	fl.BoolVar(&f.printOnly, "print-config", false, "print the node's config and exit")
	return c
}

func (f *demoFlags) ports() (demo.Ports, error) {
	var p demo.Ports
	var err1, err2 error
	p.DNS, err1 = netip.ParseAddrPort(f.dns)
	p.Admin, err2 = netip.ParseAddrPort(f.admin)
	p.HTTP, p.API = f.httpPort, f.apiPort
	if err := errors.Join(err1, err2); err != nil {
		return p, exitError{exitUsage, fmt.Errorf("--dns and --admin take ADDRESS:PORT: %w", err)}
	}
	return p, nil
}

func runDemo(cmd *cobra.Command, f *demoFlags) error {
	ports, err := f.ports()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pointsman-demo-")
	if err != nil {
		return fmt.Errorf("making the demo's state folder: %w", err)
	}
	defer os.RemoveAll(dir)
	yaml, err := demo.Config(ports, filepath.Join(dir, "state"), f.logLevel())
	if err != nil {
		return err
	}
	if f.printOnly {
		_, err := cmd.OutOrStdout().Write(yaml)
		return err
	}
	logs, closeLogs, err := f.logs(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeLogs()
	return startDemo(cmd, f, ports, yaml, logs)
}

// startDemo binds everything, then runs the surroundings, the node and the view together.
func startDemo(cmd *cobra.Command, f *demoFlags, p demo.Ports, yaml []byte, logs io.Writer) error {
	d, err := demo.New(p, slog.New(slog.NewTextHandler(logs,
		&slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	node, err := app.New(ctx, app.Options{Data: yaml, Name: "demo.yaml", LogWriter: logs,
		Env: append(os.Environ(), d.Env()...), Version: version()})
	if err != nil {
		return errors.Join(demoHint(err), d.Close())
	}
	client, err := api.New(api.Config{BaseURL: "http://" + p.Admin.String()})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.Run(ctx) })
	g.Go(func() error { return node.Run(ctx) })
	g.Go(func() error {
		defer cancel() // the view ends when the user quits: everything else follows
		v := demoView{demo: d, client: client, ports: p, out: cmd.OutOrStdout()}
		if f.plain || !isTerminal(cmd.OutOrStdout()) {
			return v.lines(ctx)
		}
		return v.screen(ctx)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "demo ended; nothing is left behind")
	return nil
}

// demoHint adds the flags that change the node's addresses to an error about one of them.
func demoHint(err error) error {
	return fmt.Errorf("%w\n(change the nameserver's address with --dns, the admin API's with "+
		"--admin, the edge's port with --http-port)", err)
}

func (f *demoFlags) logLevel() string {
	if f.logFile != "" {
		return "info"
	}
	return "warn"
}

// logs is where the node's log goes: a file, or on a live screen nowhere, since its events are
// shown there.
func (f *demoFlags) logs(errOut io.Writer) (io.Writer, func() error, error) {
	if f.logFile == "" {
		if f.plain || !isTerminal(errOut) {
			return errOut, func() error { return nil }, nil
		}
		return io.Discard, func() error { return nil }, nil
	}
	file, err := os.OpenFile(f.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the log: %w", err)
	}
	return file, file.Close, nil
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
