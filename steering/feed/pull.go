package feed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// mostBackoff is the longest wait after failures, unless the interval is longer.
	mostBackoff = 5 * time.Minute
	// spread is how far jitter moves a pull from its time, as a part of the wait.
	spread = 0.1
)

// Run keeps what feeds say: it pulls, follows the shared store (by watch, and by a poll each
// second), writes what a store has missed, and tells when something came into force or ended. It
// blocks until ctx ends and then returns nil. Call it once.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch <-chan struct{} // nil never signals
	if k.cfg.Shared != nil {
		hints := k.cfg.Shared.Watch(ctx, keyPrefix)
		watch = hints
		defer func() {
			for range hints { // until the store has let go of it
			}
		}()
	}
	defer cancel()
	pulls := &pullers{keeper: k, ctx: ctx}
	defer pulls.stop()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			k.save(context.WithoutCancel(ctx))
			return nil
		case <-k.changed:
			pulls.stop()
			pulls.start()
			continue
		case <-ticker.C:
		case _, open := <-watch:
			if !open {
				watch = nil // the poll goes on
			}
		}
		k.forget()
		k.tell()
		k.metrics.show(k.Status())
		k.save(ctx)
		k.sync(ctx)
	}
}

// pullers are the goroutines of feeds that are pulled.
type pullers struct {
	keeper *Keeper
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func (p *pullers) start() {
	ctx, cancel := context.WithCancel(p.ctx)
	p.cancel = cancel
	k := p.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.feeds {
		if f.pulled() {
			p.group.Go(func() { k.follow(ctx, f) })
		}
	}
}

// stop ends them and waits for that; there may be none.
func (p *pullers) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.group.Wait()
}

// follow pulls one feed until ctx ends.
func (k *Keeper) follow(ctx context.Context, f *Feed) {
	c := k.client(f)
	defer c.CloseIdleConnections()
	k.mu.Lock()
	tried := k.state(f.Name).tried
	k.mu.Unlock()
	wait := time.Duration(0) // after a reload, when the next one is due
	if !tried.IsZero() {
		wait = min(max(0, tried.Add(f.Interval).Sub(k.now())), f.Interval)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		later, err := k.pull(ctx, c, f)
		if ctx.Err() != nil {
			return
		}
		k.pulled(f, err)
		if failures++; err == nil {
			failures = 0
		}
		timer.Reset(pause(f.Interval, failures, later, k.cfg.Jitter()))
	}
}

// pause is how long to wait for the next pull after so many failures in a row; later is what the
// server asked for, jitter a number from 0 to 1.
func pause(interval time.Duration, failures int, later time.Duration, jitter float64) time.Duration {
	wait, most := interval, max(interval, mostBackoff)
	for range min(failures, 30) {
		wait = min(2*wait, most)
	}
	wait = max(wait, min(later, most))
	return wait + time.Duration((2*jitter-1)*spread*float64(wait))
}

// client is what a feed is pulled with. It follows no redirects: they could lead the token, and
// what steers traffic, to somewhere else.
func (k *Keeper) client(f *Feed) *http.Client {
	c := &http.Client{Transport: k.cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if c.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxResponseHeaderBytes = 64 << 10
		t.TLSClientConfig = &tls.Config{RootCAs: f.RootCAs, MinVersion: tls.VersionTLS12}
		c.Transport = t
	}
	return c
}

// pull asks once, and takes what is answered. later is how long the server wants to be left alone.
func (k *Keeper) pull(ctx context.Context, c *http.Client, f *Feed) (later time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", place(f.URL), bare(err))
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "pointsman")
	if !f.Token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+f.Token.Reveal())
	}
	k.mu.Lock()
	s := k.state(f.Name)
	s.tried = k.now()
	etag, data := s.etag, s.data
	k.mu.Unlock()
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", place(f.URL), bare(err))
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		// It says the same again, as of now.
		return 0, k.answered(f, data, etag)
	case resp.StatusCode != http.StatusOK:
		return retryAfter(resp), fmt.Errorf("asking %s: %s", place(f.URL), refusedStatus(resp))
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, MaxDocument+1))
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading the answer of %s: %w", place(f.URL), bare(err))
	case len(data) > MaxDocument:
		return 0, fmt.Errorf("reading the answer of %s: it is larger than 1 MiB", place(f.URL))
	}
	return 0, k.answered(f, data, resp.Header.Get("ETag"))
}

// answered takes a document that was pulled.
func (k *Keeper) answered(f *Feed, data []byte, etag string) error {
	d, err := k.take(f, data)
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", place(f.URL), err)
	}
	if etag == "" {
		data = nil
	}
	k.mu.Lock()
	s := k.state(f.Name)
	s.etag, s.data = etag, data
	k.mu.Unlock()
	result := "taken"
	if len(d.refused) > 0 {
		result = "partly"
	}
	k.metrics.pulls.WithLabelValues(f.Name, result).Inc()
	return nil
}

// pulled notes how a pull went, and logs when that changed.
func (k *Keeper) pulled(f *Feed, err error) {
	k.mu.Lock()
	s := k.state(f.Name)
	was := s.err
	if s.err = ""; err != nil {
		s.err = err.Error()
	}
	k.mu.Unlock()
	switch {
	case err != nil:
		k.metrics.pulls.WithLabelValues(f.Name, "failed").Inc()
		if was == "" {
			k.cfg.Logger.Warn("feed not pulled, its last values hold until they end", "feed", f.Name,
				"err", err)
		}
	case was != "":
		k.cfg.Logger.Info("feed pulled again", "feed", f.Name)
	}
}

// refusedStatus says what an answer other than 200 means.
func refusedStatus(resp *http.Response) string {
	text := "it answered " + strconv.Itoa(resp.StatusCode)
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		return text + ", a redirect, and none is followed: give the final URL"
	}
	return text
}

// retryAfter is how long the server wants to be left alone, in whole seconds (RFC 9110 §10.2.3); a
// date is ignored.
func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// place is a URL without what may be secret in it.
func place(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "its URL"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// bare is an error without the URL that net/http puts into it.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
