package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"

	"pointsman/internal/config"
	"pointsman/providers"
)

// certPool reads PEM certificates; an empty path means the system's (nil).
func certPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

// clientTLS is how we verify a server; nil in, nil out.
func clientTLS(c *config.ClientTLS, address string) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	pool, err := certPool(c.CAFile)
	if err != nil {
		return nil, err
	}
	name := c.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(address) // the config checked it
	}
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}, nil
}

// serverTLS loads our certificate; nil in, nil out.
func serverTLS(c *config.ServerTLS) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// dnsTLS loads the nameserver's certificate; nil without one.
func dnsTLS(c *config.Config) (*tls.Config, error) {
	if c.DNS.TLS == nil {
		return nil, nil
	}
	t, err := serverTLS(&config.ServerTLS{CertFile: c.DNS.TLS.CertFile, KeyFile: c.DNS.TLS.KeyFile})
	if err != nil {
		return nil, fmt.Errorf("dns.tls: %w", err)
	}
	return t, nil
}

// httpClient is the client of a provider's API, with a CA of its own when one is configured.
func httpClient(caFile string) (*http.Client, error) {
	pool, err := certPool(caFile)
	if err != nil || pool == nil {
		return nil, err
	}
	c := providers.DefaultHTTPClient()
	t, ok := c.Transport.(*http.Transport)
	if !ok {
		t = http.DefaultTransport.(*http.Transport).Clone()
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	c.Transport = t
	return c, nil
}
