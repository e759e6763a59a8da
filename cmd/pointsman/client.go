package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
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

// clientFlags are the flags of every subcommand that talks to a running node.
type clientFlags struct {
	admin, tokenFile, caFile string
	json                     bool
}

// bind adds the flags to a command.
func (f *clientFlags) bind(c *cobra.Command) *clientFlags {
	c.Flags().StringVar(&f.admin, "admin", envOr(envAdmin, "http://127.0.0.1:8053"),
		"address of the node's admin API ($"+envAdmin+")")
	c.Flags().StringVar(&f.tokenFile, "token-file", os.Getenv(envTokenFile),
		"file that holds the API token ($"+envTokenFile+")")
	c.Flags().StringVar(&f.caFile, "ca-file", "", "PEM file of the CA that signed the node's certificate")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return f
}

// client builds the admin API's client from the flags.
func (f *clientFlags) client() (*api.Client, error) {
	var token secret.String
	if f.tokenFile != "" {
		b, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		token = secret.New(strings.TrimSpace(string(b)))
	}
	hc, err := f.httpClient()
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{BaseURL: f.admin, Token: token, HTTPClient: hc})
}

func (f *clientFlags) httpClient() (*http.Client, error) {
	if f.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(f.caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the CA %s: it holds no certificate", f.caFile)
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, nil
}

// ask runs one exchange with the node under a deadline.
func ask[T any](
	cmd *cobra.Command, f *clientFlags, do func(context.Context, *api.Client) (T, error),
) (T, error) {
	var zero T
	c, err := f.client()
	if err != nil {
		return zero, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
	defer cancel()
	return do(ctx, c)
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table starts an aligned table with a head; the caller writes tab-separated rows and flushes.
func table(w io.Writer, head string) *tabwriter.Writer {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(head, " ", "\t"))
	return t
}

// age says how long ago something was, for people: 850ms, 12s, 3m10s, 5h2m, 3d4h.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t))
}

// span prints a duration with at most two units.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
