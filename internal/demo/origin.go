package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strings"
	"time"
)

// pricePeriod is how long a price of the demo's site stays the same.
const pricePeriod = 10 * time.Second

// origin is a small site as a shop would have it: pages, pictures, versioned assets and one
// object that is cached for an hour although it changes, which is what purges are for.
type origin struct {
	now    func() time.Time
	routes map[string]asset
}

// asset is one object of the site.
type asset struct {
	contentType string
	cache       string   // Cache-Control
	tags        []string // surrogate keys
	body        func(now time.Time) []byte
}

func newOrigin(now func() time.Time) *origin {
	fixed := func(s string) func(time.Time) []byte {
		return func(time.Time) []byte { return []byte(s) }
	}
	logo := picture()
	return &origin{now: now, routes: map[string]asset{
		"/": {"text/html; charset=utf-8", "public, max-age=60, stale-if-error=3600",
			[]string{"page", "home"}, fixed(homePage)},
		"/product/42": {"text/html; charset=utf-8", "public, max-age=300, stale-if-error=3600",
			[]string{"page", "product-42"}, fixed(productPage)},
		"/assets/app.3f9a1c.css": {"text/css; charset=utf-8",
			"public, max-age=31536000, immutable", []string{"asset"}, fixed(styleSheet)},
		"/img/logo.png": {"image/png", "public, max-age=86400", []string{"image"},
			func(time.Time) []byte { return logo }},
		"/price.json": {"application/json", "public, max-age=3600, stale-if-error=3600",
			[]string{"price", "product-42"}, price},
		"/account": {"text/plain; charset=utf-8", "private, no-store", nil, fixed("yours alone\n")},
		"/healthz": {"text/plain; charset=utf-8", "no-store", nil, fixed("ok\n")},
	}}
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, ok := o.routes[r.URL.Path]
	if !ok {
		w.Header().Set("Cache-Control", "public, max-age=5")
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this site only reads", http.StatusMethodNotAllowed)
		return
	}
	body := a.body(o.now())
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", a.cache)
	h.Set("ETag", etag(body))
	if len(a.tags) > 0 {
		h.Set("Surrogate-Key", strings.Join(a.tags, " "))
		h.Set("Cache-Tag", strings.Join(a.tags, ","))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// price changes every pricePeriod, so a cached copy shows its age.
func price(now time.Time) []byte {
	step := now.Unix() / int64(pricePeriod.Seconds())
	return fmt.Appendf(nil, `{"product":42,"price":"%d.%02d","as_of":%q}`+"\n",
		10+step%50, step%100, now.UTC().Truncate(pricePeriod).Format(time.RFC3339))
}

func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// picture draws the site's logo: two tracks and a switch.
func picture() []byte {
	const side = 64
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			c := color.NRGBA{0xf5, 0xf5, 0xf0, 0xff}
			if x/6 == 4 || (y < side/2 && (x+y)/6 == 9) {
				c = color.NRGBA{0x1c, 0x4e, 0x80, 0xff}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return nil // cannot happen: a bytes.Buffer takes every write
	}
	return b.Bytes()
}

const homePage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>The corner shop</title>
<link rel="stylesheet" href="/assets/app.3f9a1c.css">
<h1><img src="/img/logo.png" alt="" width="32"> The corner shop</h1>
<p><a href="/product/42">Product 42</a>, <a href="/price.json">its price</a>.</p>
</html>
`

const productPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Product 42</title>
<link rel="stylesheet" href="/assets/app.3f9a1c.css">
<h1>Product 42</h1><p>A set of points, left hand.</p>
</html>
`

const styleSheet = `body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem }
h1 { color: #1c4e80 }
`
