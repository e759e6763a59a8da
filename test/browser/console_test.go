package browser_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// row is an expression for the cells of a backend's row below a steered name.
func row(host, backend string) string {
	return `(() => {
		for (const box of document.querySelectorAll('#hosts > *')) {
			if (!box.querySelector('h2').textContent.startsWith('` + host + `')) continue;
			for (const tr of box.querySelectorAll('tbody tr'))
				if (tr.cells[0].textContent === '` + backend + `') return [...tr.cells].map((c) => c.textContent);
		}
		return [];
	})()`
}

func TestTheConsoleShowsTheNodeAndFollowsItWithoutAReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	stop := s.start()
	p := s.open()
	p.eventually("the hosts", `document.querySelectorAll('#hosts table').length === 2`)
	p.eventually("health", row("cdn.example.test", "fastly")+`.includes('healthy')`)
	if got := eval[[]string](p, row("cdn.example.test", "fastly")); got[1] != "cdns" || got[2] != "70.0%" {
		t.Errorf("fastly is shown as %q", got)
	}
	eval[string](p, `window.mark = 'not loaded again'`)

	reason := `<img src=x onerror="document.title='broken into'"> & "works"`
	id := s.drain("fastly", reason)
	took := p.eventually("the drain", row("cdn.example.test", "fastly")+`[2] === '0.0%'`)
	t.Logf("a drain was shown %s after it was taken", took)
	p.eventually("the override", `document.querySelector('#overrides tbody').textContent.includes('eve')`)
	if text := eval[string](p, `document.querySelector('#overrides tbody').textContent`); !strings.Contains(text, reason) {
		t.Errorf("the overrides say %q", text)
	}
	if eval[bool](p, `document.querySelector('#overrides img, #events img') !== null`) {
		t.Error("an operator's words became markup")
	}
	s.breakIt("cloudflare", true)
	p.eventually("a failure", row("cdn.example.test", "cloudflare")+`.includes('unhealthy')`)
	p.eventually("the fall to the edge", row("cdn.example.test", "edge")+`[2] === '100.0%'`)
	p.eventually("its event", `document.querySelector('#events tbody').textContent.includes('cloudflare: unhealthy')`)
	p.picture("steered-light")
	p.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
		return err
	}))
	p.explain(t)
	p.picture("steered-dark")

	if err := s.api().RemoveOverride(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	p.eventually("the drain's end", row("cdn.example.test", "fastly")+`[2] === '100.0%'`)
	p.silent()
	p.stops(t, s, stop)
}

// explain asks why a client gets its answer, and about names and clients that are none.
func (p *page) explain(t *testing.T) {
	t.Helper()
	ask := func(name, client string) {
		p.do(chromedp.SetValue("#explain-name", name), chromedp.SetValue("#explain-client", client),
			chromedp.Click("#explain button"))
	}
	ask("cdn.example.test", "198.51.100.9")
	p.eventually("an explanation", `document.querySelector('#explanation').textContent.includes('answer: edge')`)
	text := eval[string](p, `document.querySelector('#explanation').textContent`)
	for _, want := range []string{"1. ", "drain", "eve", "unhealthy", "ttl 10s", "reason fallback"} {
		if !strings.Contains(text, want) {
			t.Errorf("the explanation has no %q:\n%s", want, text)
		}
	}
	ask("www.example.test", "198.51.100.9")
	p.eventually("a refusal", `document.querySelector('#explanation').textContent.includes('is not steered; steered are cdn.example.test')`)
	ask("cdn.example.test", "bob")
	p.eventually("a refusal of bob", `document.querySelector('#explanation').textContent.includes('bob')`)
	ask("cdn.example.test", "198.51.100.9")
	p.eventually("an explanation again", `document.querySelector('#explanation').textContent.includes('answer: edge')`)
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.complaints[:0]
	for _, c := range p.complaints { // the browser tells of the two refusals
		if !strings.Contains(c, "/v1/explain") {
			kept = append(kept, c)
		}
	}
	p.complaints = kept
}

// stops ends the node under the page, and starts another in its place.
func (p *page) stops(t *testing.T, s *site, stop func()) {
	t.Helper()
	stop()
	took := p.eventually("the loss", `document.querySelector('#live').className === 'stale' &&
		document.querySelector('#live').textContent.includes('no connection')`)
	t.Logf("the page said that it lost the node %s after its stop", took)
	if took > 3*time.Second {
		t.Errorf("it took the page %s to say so", took)
	}
	p.eventually("the age of what is shown", `/what you see is \d+s old/.test(document.querySelector('#live').textContent)`)
	if !eval[bool](p, `document.querySelectorAll('#hosts table').length === 2`) {
		t.Error("what was last known is gone")
	}
	p.do(chromedp.Click("#explain button"))
	p.eventually("that nobody explains now", `document.querySelector('#explanation').textContent.includes('no answer')`)
	p.picture("stale-dark")
	s.start()
	t.Logf("it was live again %s after the node's return", p.eventually("life",
		`document.querySelector('#live').textContent === 'live' && document.querySelector('#live').className === 'live'`))
	if got := eval[string](p, `window.mark`); got != "not loaded again" {
		t.Errorf("the page was loaded again: %q", got)
	}
	if got := eval[string](p, `document.title`); got != "Pointsman" {
		t.Errorf("the title is %q", got)
	}
}

func TestTheConsoleAsksForATokenWhenTheNodeWantsOne(t *testing.T) {
	t.Parallel()
	s := newSite(t, "open-sesame")
	s.start()
	p := s.open()
	p.eventually("the question", `!document.querySelector('#login').hidden`)
	if eval[bool](p, `document.querySelectorAll('#hosts table').length > 0`) {
		t.Error("something is shown without a token")
	}
	p.picture("login-light")
	enter := func(token string) {
		p.do(chromedp.SetValue("#token", token), chromedp.Click("#login button"))
	}
	enter("guess")
	p.eventually("the refusal", `document.querySelector('#login-note').textContent.includes('may not read')`)
	enter("open-sesame")
	p.eventually("the hosts", `document.querySelectorAll('#hosts table').length === 2`)
	p.eventually("the end of the question", `document.querySelector('#login').hidden && document.querySelector('#token').value === ''`)
	p.do(chromedp.Click("#explain button"))
	p.eventually("an explanation", `document.querySelector('#explanation').textContent.includes('answer:')`)
	if eval[bool](p, `document.documentElement.outerHTML.includes('open-sesame') || location.href.includes('open-sesame') ||
		JSON.stringify(localStorage).includes('open-sesame')`) {
		t.Error("the token is in the page, its address or what outlives the tab")
	}
	p.do(chromedp.Reload())
	p.eventually("the hosts after a reload", `document.querySelectorAll('#hosts table').length === 2`)
	p.silent("401") // the browser tells of the refusals
}
