package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
	"pointsman/internal/secret"
)

// The environment variables that stand in for the client flags.
const (
	envAdmin     = "POINTSMAN_ADMIN_URL"
	envTokenFile = "POINTSMAN_TOKEN_FILE"
)

// askLimit is how long one exchange with a node may take.
const askLimit = 15 * time.Second

// clientFlags are the flags of every subcommand that talks to a running node.
type clientFlags struct {
	admin, tokenFile, caFile string
	json                     bool
}

// bind adds the flags to a command.
func (f *clientFlags) bind(c *cobra.Command) *clientFlags {
	fl := c.Flags()
	fl.StringVar(&f.admin, "admin", envOr(envAdmin, "http://127.0.0.1:8053"),
		"`URL` of the node's admin API, or $"+envAdmin)
	fl.StringVar(&f.tokenFile, "token-file", os.Getenv(envTokenFile),
		"`FILE` that holds the API token, or $"+envTokenFile)
	fl.StringVar(&f.caFile, "ca-file", "", "PEM `FILE` of the CA that signed the node's certificate")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return f
}

// client builds the admin API's client from the flags.
func (f *clientFlags) client() (*api.Client, error) {
	base := f.admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	var token secret.String
	if f.tokenFile != "" {
		b, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, usagef("--token-file: %w", err)
		}
		if token = secret.New(strings.TrimSpace(string(b))); token.IsZero() {
			return nil, usagef("--token-file %s: it is empty", f.tokenFile)
		}
		if u, err := url.Parse(base); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			return nil, usagef("--admin %s would carry the token unencrypted: use https", f.admin)
		}
	}
	hc, err := f.httpClient()
	if err != nil {
		return nil, err
	}
	c, err := api.New(api.Config{BaseURL: base, Token: token, Actor: actor(),
		HTTPClient: hc})
	if err != nil {
		return nil, usagef("--admin %q: want http://HOST:PORT or https://HOST:PORT", f.admin)
	}
	return c, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.Unmap().IsLoopback())
}

func (f *clientFlags) httpClient() (*http.Client, error) {
	if f.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(f.caFile)
	if err != nil {
		return nil, usagef("--ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usagef("--ca-file %s: it holds no PEM certificate", f.caFile)
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, nil
}

// ask runs one exchange with the node under a deadline.
func ask[T any](
	ctx context.Context, f *clientFlags, do func(context.Context, *api.Client) (T, error),
) (T, error) {
	var zero T
	c, err := f.client()
	if err != nil {
		return zero, err
	}
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	got, err := do(limited, c)
	switch {
	case err == nil || stated(err):
	case ctx.Err() != nil:
		err = fmt.Errorf("interrupted: %w", err)
	default:
		err = fmt.Errorf("%w\nIs the node running, with its admin API there? "+
			"Another address: --admin URL or $%s", err, envAdmin)
	}
	return got, err
}

// stated reports whether an error is the node's own word; any other one means that the node
// was not reached or not understood.
func stated(err error) bool {
	var p *api.Problem
	return errors.As(err, &p)
}

// tell asks the node and prints its answer: as JSON when that is wanted, or else by show.
func tell[T any](
	cmd *cobra.Command, f *clientFlags, do func(context.Context, *api.Client) (T, error),
	show func(T) error,
) error {
	got, err := ask(cmd.Context(), f, do)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), got)
	}
	return show(got)
}
