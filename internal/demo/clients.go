package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// The demo's clients: how many there are and how often each looks up and fetches.
const (
	clientCount  = 8
	clientPeriod = 200 * time.Millisecond
	clientLimit  = 3 * time.Second
)

// ClientCounts is what the demo's clients saw so far.
type ClientCounts struct {
	Requests, Failed, NoAnswer uint64
}

// clients resolve the steered name through the node, as a stub resolver without a cache would,
// and fetch a page from what they were given.
type clients struct {
	resolver                   *net.Resolver
	port                       uint16
	requests, failed, noAnswer atomic.Uint64
}

func newClients(p Ports) *clients {
	dialer := &net.Dialer{Timeout: clientLimit}
	return &clients{port: p.HTTP, resolver: &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, p.DNS.String())
		},
	}}
}

func (c *clients) counts() ClientCounts {
	return ClientCounts{c.requests.Load(), c.failed.Load(), c.noAnswer.Load()}
}

// run keeps the clients busy until ctx ends.
func (c *clients) run(ctx context.Context) error {
	hc := &http.Client{Timeout: clientLimit, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer hc.CloseIdleConnections()
	var wg sync.WaitGroup
	for range clientCount {
		wg.Go(func() { c.browse(ctx, hc) })
	}
	wg.Wait()
	return nil
}

func (c *clients) browse(ctx context.Context, hc *http.Client) {
	paths := []string{"/", "/product/42", "/assets/app.3f9a1c.css", "/img/logo.png", "/price.json"}
	t := time.NewTicker(clientPeriod)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.fetch(ctx, hc, paths[rand.IntN(len(paths))])
		}
	}
}

// fetch does one visit and counts how it went.
func (c *clients) fetch(ctx context.Context, hc *http.Client, path string) {
	addrs, err := c.resolver.LookupNetIP(ctx, "ip4", "cdn.example.test.")
	if ctx.Err() != nil {
		return
	}
	c.requests.Add(1)
	if err != nil || len(addrs) == 0 {
		c.noAnswer.Add(1)
		return
	}
	to := netip.AddrPortFrom(addrs[0].Unmap(), c.port)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s%s", to, path), nil)
	if err != nil {
		c.failed.Add(1)
		return
	}
	req.Host = "cdn.example.test"
	res, err := hc.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			c.failed.Add(1)
		}
		return
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if (err != nil && ctx.Err() == nil) || res.StatusCode >= 400 {
		c.failed.Add(1)
	}
}
