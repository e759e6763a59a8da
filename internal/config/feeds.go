package config

import (
	"net/url"
	"slices"
	"time"

	"pointsman/internal/secret"
)

// The values of Backend.Up.
const (
	UpAlways  = "true"
	UpNever   = "false"
	UpByProbe = "probe"
)

// FeedFields are all that a feed may give, and gives unless the config names fewer.
func FeedFields() []string {
	return []string{"up", "drain", "weight", "capacity", "cost", "load"}
}

// Feed is an API that says what backends' metadata are.
type Feed struct {
	// Name is unique among feeds.
	Name string `koanf:"name" required:"yes" syntax:"name"`
	// URL is pulled; left out: the feed is pushed, by PUT /v1/feeds/NAME of the admin API.
	URL string `koanf:"url" syntax:"url"`
	// Interval is how often it is pulled.
	Interval time.Duration `koanf:"interval" min:"1s" max:"1h"`
	// Timeout is how long one pull may take.
	Timeout time.Duration `koanf:"timeout" min:"100ms" max:"1m"`
	// Keep is how long a value holds after it was said last. Then the config's counts again.
	Keep time.Duration `koanf:"keep" min:"2s" max:"24h"`
	// Hold is the least time between two changes of a field of a backend; what is said meanwhile
	// waits.
	Hold time.Duration `koanf:"hold" min:"0s" max:"1h"`
	// DeadBand is how far, in percent of the value in force, another weight, capacity or cost must
	// be from it to replace it.
	DeadBand int `koanf:"dead_band" min:"0" max:"50"`
	// Backends are the names of those that it may speak of; empty: all.
	Backends []string `koanf:"backends"`
	// Fields are those that it may give; empty: all. No two feeds give the same of one backend.
	Fields []string `koanf:"fields" oneof:"up drain weight capacity cost load"`
	// CAFile names PEM certificates to trust instead of the system's; empty: the system's.
	CAFile string `koanf:"ca_file"`
	// TokenFile names a file that holds a bearer token for the URL.
	TokenFile string `koanf:"token_file" secret:"token"`
	// TokenEnv names an environment variable that holds a bearer token for the URL.
	TokenEnv string `koanf:"token_env" secret:"token"`

	// Token is read by Load from TokenFile or TokenEnv; zero without either.
	Token secret.String `koanf:"-"`
}

// Speaks lists the backends that a feed may speak of, by name.
func (f *Feed) Speaks(c *Config) []string {
	if len(f.Backends) > 0 {
		return f.Backends
	}
	all := make([]string, len(c.Backends))
	for i := range c.Backends {
		all[i] = c.Backends[i].Name
	}
	return all
}

// Gives lists the fields that a feed may give.
func (f *Feed) Gives() []string {
	if len(f.Fields) > 0 {
		return f.Fields
	}
	return FeedFields()
}

// feeds checks each feed, and that no two say the same.
func (c *checker) feeds() {
	feeds := c.cfg.Feeds
	c.unique("feeds", "name", len(feeds), func(i int) string { return feeds[i].Name })
	backends := c.index("backends")
	for i := range feeds {
		f, at := &feeds[i], element("feeds", i)
		for j, name := range f.Backends {
			c.refer(element(at+".backends", j), "backends", name, backends)
		}
		c.distinct(at+".backends", f.Backends)
		c.distinct(at+".fields", f.Fields)
		if f.URL == "" {
			c.pushedFeed(at)
		} else {
			c.pulledFeed(at, f)
		}
		if f.Hold > f.Keep {
			c.mistake(at+".hold", "%v is longer than keep, which is %v: a change would end before it "+
				"is in force", f.Hold, f.Keep)
		}
		c.clash(i)
	}
}

// pushedFeed reports what only a feed that is pulled has a use for.
func (c *checker) pushedFeed(at string) {
	for _, key := range []string{"interval", "timeout", "ca_file", "token_file", "token_env"} {
		if path := at + "." + key; c.src.has(path) && !c.bad[at+".url"] {
			c.mistake(path, "belongs to a feed with a url, and this one is pushed")
		}
	}
}

func (c *checker) pulledFeed(at string, f *Feed) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return // reported as that
	}
	plain := u.Scheme == "http" && !local(u)
	switch {
	case plain && (f.TokenFile != "" || f.TokenEnv != ""):
		c.mistake(at+".url", "%s would carry the token unencrypted: use https", shown(f.URL))
	case plain:
		c.warn(at+".url", "%s is not encrypted: whoever is on the way can steer", shown(f.URL))
	}
	if u.Scheme == "http" && f.CAFile != "" {
		c.mistake(at+".ca_file", "the feed's URL is http, which has no certificate")
	}
	if f.Keep < 2*f.Interval {
		c.mistake(at+".keep", "%v is less than two intervals, which are %v: one lost pull would end "+
			"what the feed said", f.Keep, 2*f.Interval)
	}
}

// clash reports a field of a backend that an earlier feed gives too: which of the two should
// count?
func (c *checker) clash(i int) {
	f := &c.cfg.Feeds[i]
	for j := range i {
		o := &c.cfg.Feeds[j]
		others := o.Speaks(c.cfg)
		for _, field := range f.Gives() {
			if !slices.Contains(o.Gives(), field) {
				continue
			}
			for _, backend := range f.Speaks(c.cfg) {
				if slices.Contains(others, backend) {
					c.mistake(element("feeds", i), "gives %s of backend %s, and so does %s: name the "+
						"backends or fields of one of them, so that each has one feed", field,
						shown(backend), element("feeds", j))
					return
				}
			}
		}
	}
}
