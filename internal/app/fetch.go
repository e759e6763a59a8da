package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pointsman/probes"
	"pointsman/purge"
)

// fetcher lets the purge verifier fetch with the prober, as a client would.
type fetcher struct {
	prober *probes.NetProber
	loaded *atomic.Pointer[loadedConfig]
}

// Fetch implements purge.Fetcher.
func (f fetcher) Fetch(ctx context.Context, via purge.FetchVia, raw string) (purge.Fetched, error) {
	t, err := f.target(via, raw)
	if err != nil {
		return purge.Fetched{}, err
	}
	res, sample := f.prober.Fetch(ctx, t)
	if res.Status == 0 {
		return purge.Fetched{}, fmt.Errorf("fetching %s through %s: %s: %s", raw, via.Backend,
			sample.Outcome, sample.Detail)
	}
	got := purge.Fetched{Status: res.Status, ETag: res.Header.Get("ETag"),
		At: res.At.Add(sample.Phases.FirstByte)}
	if age, err := strconv.Atoi(res.Header.Get("Age")); err == nil && age >= 0 {
		got.Age, got.AgeKnown = time.Duration(age)*time.Second, true
	}
	if !res.Truncated && sample.Outcome != probes.FailedRead {
		got.BodySHA256 = res.BodySHA256
	}
	return got, nil
}

// target says where a fetch dials and as whom it asks.
func (f fetcher) target(via purge.FetchVia, raw string) (probes.Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return probes.Target{}, fmt.Errorf("fetching %q: %w", raw, err)
	}
	if via.Address == originMark {
		if via, err = f.origin(u.Hostname()); err != nil {
			return probes.Target{}, err
		}
	}
	if via.Scheme != "" {
		u.Scheme = via.Scheme
	}
	host := via.Host
	if host == "" {
		host = u.Hostname()
	}
	t := probes.Target{Name: "verify " + via.Backend, Backend: via.Backend, Kind: probes.HTTP,
		URL: u.String(), Address: withPort(via.Address, u.Scheme), Host: host,
		ServerName: host, Timeout: 10 * time.Second, MaxBody: 16 << 20}
	return t, nil
}

// origin finds the origin of a host name among the edge's sites.
func (f fetcher) origin(host string) (purge.FetchVia, error) {
	l := f.loaded.Load()
	if l == nil {
		return purge.FetchVia{}, errors.New("fetching from the origin: the node is starting")
	}
	for _, s := range l.config.Edge.Sites {
		for _, h := range s.Hosts {
			if !strings.EqualFold(h, host) {
				continue
			}
			u, err := url.Parse(s.Origin)
			if err != nil {
				return purge.FetchVia{}, fmt.Errorf("fetching from origin %q: %w", s.Origin, err)
			}
			return purge.FetchVia{Backend: originMark, Address: u.Host, Scheme: u.Scheme}, nil
		}
	}
	return purge.FetchVia{}, fmt.Errorf("no edge site names the origin of %s", host)
}

// withPort adds the scheme's port to an address that has none.
func withPort(address, scheme string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}
