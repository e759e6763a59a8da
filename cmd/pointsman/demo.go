package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

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
		Long: "Start an origin, three stand-ins for commercial CDNs, clients, and a real node with its\n" +
			"edge cache, nameserver, admin API and console, all on loopback, without root and without a\n" +
			"config. Ctrl-C ends all of it and leaves nothing behind.",
		Example: "  pointsman demo\n  pointsman demo --dns 127.0.0.1:5353 --http-port 18080",
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDemo(cmd, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.dns, "dns", p.DNS.String(), "`ADDRESS:PORT` of the nameserver, UDP and TCP")
	fl.StringVar(&f.admin, "admin", p.Admin.String(), "`ADDRESS:PORT` of the admin API and console")
	fl.Uint16Var(&f.httpPort, "http-port", p.HTTP,
		"`PORT` of the CDNs, the edge and the origin (127.0.0.11 to .15)")
	fl.Uint16Var(&f.apiPort, "api-port", p.API, "`PORT` of the CDNs' purge APIs")
	fl.BoolVar(&f.plain, "plain", false, "print lines instead of a live screen (default when not on a terminal)")
	fl.StringVar(&f.logFile, "log-file", "", "append the node's log to this `FILE` (default: warnings "+
		"go to standard error, and nowhere while the live screen is there)")
	fl.BoolVar(&f.printOnly, "print-config", false, "print the node's config and exit")
	return c
}

// ports reads the four flags that say where the demo listens.
func (f *demoFlags) ports() (demo.Ports, error) {
	p := demo.Ports{HTTP: f.httpPort, API: f.apiPort}
	for _, a := range []struct {
		flag, value string
		to          *netip.AddrPort
	}{{"--dns", f.dns, &p.DNS}, {"--admin", f.admin, &p.Admin}} {
		got, err := netip.ParseAddrPort(a.value)
		if err != nil || got.Port() == 0 {
			return p, usagef("%s %q: want ADDRESS:PORT such as 127.0.0.1:5300", a.flag, a.value)
		}
		*a.to = got
	}
	switch {
	case !p.Admin.Addr().IsLoopback():
		return p, usagef("--admin %s: the demo's admin API takes a loopback address alone, for it "+
			"asks for no token", p.Admin)
	case p.HTTP == 0 || p.API == 0:
		return p, usagef("--http-port and --api-port: want 1 to 65535")
	case p.HTTP == p.API:
		return p, usagef("--http-port and --api-port are both %d, and must differ", p.HTTP)
	}
	return p, nil
}

func runDemo(cmd *cobra.Command, f *demoFlags) error {
	ports, err := f.ports()
	if err != nil {
		return err
	}
	if f.printOnly {
		return printDemoConfig(cmd.OutOrStdout(), ports)
	}
	logs, closeLogs, err := f.logs(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeLogs()
	// A second signal must not cut off the end, which is short: it would leave the folder behind.
	// Nothing undoes that, or one that comes after the last words would still change the exit code.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	dir, err := os.MkdirTemp("", "pointsman-demo-")
	if err != nil {
		return fmt.Errorf("making the demo's state folder: %w", err)
	}
	yaml, err := demo.Config(ports, filepath.Join(dir, "state"), f.logLevel())
	if err == nil {
		err = startDemo(cmd, f, ports, yaml, logs)
	}
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "demo ended; nothing is left behind")
	return nil
}

// printDemoConfig prints the config that the demo would run with these ports.
func printDemoConfig(w io.Writer, p demo.Ports) error {
	yaml, err := demo.Config(p, filepath.Join(os.TempDir(), "pointsman-demo"), "warn")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "# To check it or to probe with it:\n"+
		"#   export %s\n", strings.Join(demo.Env(), " "))
	if err == nil {
		_, err = w.Write(yaml)
	}
	return err
}

// startDemo binds everything, then runs the surroundings, the node and the view together.
func startDemo(cmd *cobra.Command, f *demoFlags, p demo.Ports, yaml []byte, logs io.Writer) error {
	// A terminal that is closed ends the demo like Ctrl-C: nothing may stay behind.
	ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
	defer cancel()
	d, err := demo.New(p, slog.New(slog.NewTextHandler(logs,
		&slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	node, err := app.New(ctx, app.Options{Data: yaml, Name: "demo.yaml", LogWriter: logs,
		Env: append(os.Environ(), demo.Env()...), Version: version()})
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
		v := demoView{clients: d.Clients, toggle: d.Toggle, client: client, ports: p,
			out: cmd.OutOrStdout(), command: self()}
		if f.plain || !isTerminal(cmd.OutOrStdout()) || os.Getenv("TERM") == "dumb" {
			return v.lines(ctx)
		}
		return v.screen(ctx)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// demoHint adds the flag that changes a taken address of the node to the error about it.
func demoHint(err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) &&
		!errors.Is(err, syscall.EACCES) {
		return err
	}
	for _, hint := range []struct{ part, flag string }{
		{"dns.listen", "--dns"}, {"admin.listen", "--admin"}, {"edge", "--http-port"},
	} {
		if strings.Contains(err.Error(), hint.part) {
			return fmt.Errorf("%w (change it with %s)", err, hint.flag)
		}
	}
	return err
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
		return nil, nil, usagef("--log-file: %w", err)
	}
	return file, file.Close, nil
}

// self is how the user called this program, so that hints can be copied.
func self() string {
	if strings.Contains(os.Args[0], "/go-build") {
		return "go run ./cmd/pointsman"
	}
	return os.Args[0]
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
