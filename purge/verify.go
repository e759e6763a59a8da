package purge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/providers"
)

// Limits of a verification.
const (
	maxChecks     = 8
	checkCeiling  = 30 * time.Second // between two looks, unless the provider is slower still
	checkPatience = time.Minute      // most to wait before the first look
	fetchTimeout  = 10 * time.Second
	fetchesAtOnce = 4
)

// witnesses are the URLs that prove a purge: its own, evenly thinned to 20, or those given for
// proof. Of a purge of more URLs the rest is taken on the provider's word.
func witnesses(req Request) []string {
	all := req.VerifyURLs
	if req.Kind == providers.URL && len(all) == 0 {
		all = req.Items
	}
	if len(all) <= maxVerify {
		return all
	}
	out := make([]string, 0, maxVerify)
	for i := range maxVerify {
		out = append(out, all[i*len(all)/maxVerify])
	}
	return out
}

// checkDelay is how long to wait after the attempt-th look (from 1) that proved nothing: it
// doubles from a second to 30, or is a quarter of what the provider usually takes if longer.
func checkDelay(attempt int, usual time.Duration) time.Duration {
	return max(min(time.Second<<min(attempt-1, 10), checkCeiling), usual/4)
}

// Judge says whether what a backend served proves that a purge took effect, and what tells so.
//
// Either of two things is proof. The object was stored or revalidated after the purge was sent:
// its Age (RFC 9111 §5.1, cut to whole seconds, so a second is allowed for) is less than the
// time since. Or it is what the origin serves now: the same status and the same body or, when a
// body is not known, the same entity tag. The second also holds where nothing was cached, and
// is what a client cares about. After a soft purge a cache may serve the old object once more
// while it revalidates, so the first look can fail honestly; it starts the revalidation that a
// later look sees.
//
// origin is nil when there is none to compare with.
func Judge(sent time.Time, soft bool, got Fetched, origin *Fetched) (proven bool, why string) {
	if got.Status >= 500 {
		return false, fmt.Sprintf("answered with status %d", got.Status)
	}
	if got.AgeKnown && got.Age+time.Second <= got.At.Sub(sent) {
		return true, "the object was stored after the purge was sent"
	}
	if origin != nil && origin.Status < 500 {
		if equal, how := equals(got, *origin); equal {
			return true, "equals the origin by " + how
		}
	}
	switch {
	case !got.AgeKnown && origin == nil:
		return false, "the answer has no Age and there is no origin to compare with"
	case origin != nil && origin.Status >= 500:
		return false, fmt.Sprintf("the origin answered with status %d", origin.Status)
	case origin == nil:
		return false, fmt.Sprintf("serves an object with Age %v%s", got.Age, softNote(soft))
	case !got.AgeKnown:
		return false, "differs from the origin and has no Age" + softNote(soft)
	}
	return false, fmt.Sprintf("differs from the origin, with Age %v%s", got.Age, softNote(soft))
}

func softNote(soft bool) string {
	if soft {
		return "; after a soft purge a cache may serve stale while it revalidates"
	}
	return ""
}

// equals compares two answers by the best that both have.
func equals(a, b Fetched) (bool, string) {
	switch {
	case a.Status != b.Status:
		return false, ""
	case a.BodySHA256 != "" && b.BodySHA256 != "":
		return a.BodySHA256 == b.BodySHA256, "content"
	case a.ETag != "" && b.ETag != "":
		// Weak comparison (RFC 9110 §8.8.3.2): caches weaken tags when they compress.
		return strings.TrimPrefix(a.ETag, "W/") == strings.TrimPrefix(b.ETag, "W/"), "ETag"
	}
	return false, ""
}

// verify is one turn at a delivery that was taken: it lets estimates pass and looks at the
// backends. It returns when to come back to it for that, if at all.
func (s *Service) verify(ctx context.Context, l *lane, id string) (time.Time, bool) {
	r, d, p, when := s.look(l, id)
	if p != phaseCheck || when.After(s.cfg.Now()) {
		return s.follow(l, id, phaseCheck)
	}
	claim, wait := s.claim(ctx, r, l.name)
	if claim == nil {
		return s.cfg.Now().Add(wait), true
	}
	defer claim.release(ctx)
	s.editDelivery(id, d, func(d *Delivery) bool { return d.passEstimates(s.cfg.Now()) })
	if r, d, p, when = s.look(l, id); p == phaseCheck && !when.After(s.cfg.Now()) &&
		d.Check.State == CheckPending {
		proven, why := s.inspect(ctx, *l.target.Load(), r, d)
		if ctx.Err() != nil {
			return s.cfg.Now(), true // cut short by a stop: it proves nothing either way
		}
		usual := l.target.Load().Provider.Capabilities().Propagation
		s.editDelivery(id, d, func(d *Delivery) bool {
			d.Check = d.Check.after(proven, why, usual, s.cfg.Now())
			return true
		})
	}
	s.record(ctx, id)
	return s.follow(l, id, phaseCheck)
}

// after returns the check after one more look.
func (c Check) after(proven bool, why string, usual time.Duration, now time.Time) Check {
	c.Attempts, c.At, c.Reason = c.Attempts+1, stamp(now), cutText(why, maxMessage)
	c.NotBefore = time.Time{}
	switch {
	case proven:
		c.State = CheckVerified
	case c.Attempts >= maxChecks:
		c.State = CheckUnverified
	default:
		c.NotBefore = stamp(now.Add(checkDelay(c.Attempts, usual)))
	}
	return c
}

// inspect fetches every witness through every backend and compares. All must be proven.
func (s *Service) inspect(
	ctx context.Context, t Target, r Record, d Delivery,
) (proven bool, why string) {
	urls := witnesses(r.Request)
	if s.cfg.Fetcher == nil || len(t.Backends) == 0 || len(urls) == 0 {
		return false, "this node's config has no backend of the provider to fetch through"
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseTTL/2)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(fetchesAtOnce)
	var mu sync.Mutex // guards reasons
	reasons := map[string]string{}
	for _, url := range urls {
		g.Go(func() error {
			if bad := s.inspectURL(ctx, t, url, sentAt(url, r.Request, d), d.Soft); bad != "" {
				mu.Lock()
				defer mu.Unlock()
				reasons[url] = bad
			}
			return nil
		})
	}
	_ = g.Wait() // the functions report by reasons
	for _, url := range urls {
		if bad, ok := reasons[url]; ok {
			return false, bad
		}
	}
	total := max(len(r.Request.VerifyURLs), len(urls))
	if r.Request.Kind == providers.URL && len(r.Request.VerifyURLs) == 0 {
		total = len(r.Request.Items)
	}
	return true, fmt.Sprintf("%d of %d URLs fetched through %d backends",
		len(urls), total, len(t.Backends))
}

// sentAt is when the purge of a URL was sent: with the batch that holds it, or with the last
// one where no batch names it. A busy object is fetched anew right after its own batch, while
// those of other URLs are still on their way.
func sentAt(url string, req Request, d Delivery) time.Time {
	own := -1
	if d.Kind == providers.URL {
		own = slices.Index(req.Items, url)
	}
	var sent time.Time
	for _, p := range d.Batches {
		if own < 0 || (p.From <= own && own < p.To) {
			sent = later(sent, p.SentAt)
		}
	}
	return sent
}

// inspectURL returns what speaks against one URL, or "".
func (s *Service) inspectURL(
	ctx context.Context, t Target, url string, sent time.Time, soft bool,
) string {
	var origin *Fetched
	if t.Origin.Address != "" {
		got, err := s.fetch(ctx, t.Origin, url)
		if err != nil {
			return fmt.Sprintf("%s: fetching from the origin: %v", url, err)
		}
		origin = &got
	}
	for _, via := range t.Backends {
		got, err := s.fetch(ctx, via, url)
		if err != nil {
			return fmt.Sprintf("%s: fetching through backend %q: %v", url, via.Backend, err)
		}
		if proven, why := Judge(sent, soft, got, origin); !proven {
			return fmt.Sprintf("%s: backend %q %s", url, via.Backend, why)
		}
	}
	return ""
}

func (s *Service) fetch(ctx context.Context, via FetchVia, url string) (Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return s.cfg.Fetcher.Fetch(ctx, via, url)
}
