package providers_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/providers"
)

func TestNormalizeURLMakesOneFormOfManySpellings(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"https://www.example.com/a.css", "https://www.example.com/a.css"},
		{"HTTPS://WWW.Example.COM/A.css", "https://www.example.com/A.css"},
		{"https://www.example.com", "https://www.example.com/"},
		{"https://www.example.com?x=1", "https://www.example.com/?x=1"},
		{"https://www.example.com./a", "https://www.example.com/a"},
		{"https://www.example.com:443/a", "https://www.example.com/a"},
		{"http://www.example.com:80/a", "http://www.example.com/a"},
		{"http://www.example.com:443/a", "http://www.example.com:443/a"},
		{"http://www.example.com:08080/a", "http://www.example.com:8080/a"},
		{"http://www.example.com:/a", "http://www.example.com/a"},
		{"http://[2001:DB8:0::1]:8080/a", "http://[2001:db8::1]:8080/a"},
		{"http://127.0.0.1:8080/", "http://127.0.0.1:8080/"},
		{"https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"},
		{"https://a_b.example/", "https://a_b.example/"},
		{"https://e.example/a b", "https://e.example/a%20b"},
		{"https://e.example/bücher", "https://e.example/b%C3%BCcher"},
		{"https://e.example/%c3%BC%2f", "https://e.example/%c3%BC%2f"}, // caches compare bytes
		{"https://e.example/%2A", "https://e.example/%2A"},
		{`https://e.example/"<>^|{}` + "`", "https://e.example/%22%3C%3E%5E%7C%7B%7D%60"},
		{"https://e.example/a[1];p=1,2!$&'()+@:=", "https://e.example/a[1];p=1,2!$&'()+@:="},
		{"https://e.example//a///b/", "https://e.example//a///b/"},
		{"https://e.example/a/./b/../c", "https://e.example/a/c"},
		{"https://e.example/a/%2E%2e/b", "https://e.example/b"},
		{"https://e.example/../../service/x/purge_all", "https://e.example/service/x/purge_all"},
		{"https://e.example/a/..", "https://e.example/"},
		{"https://e.example/a/b/.", "https://e.example/a/b/"},
		{"https://e.example/...", "https://e.example/..."},
		{"https://e.example/a?", "https://e.example/a?"},
		{"https://e.example/a?q=a b&r='<\"ü", "https://e.example/a?q=a%20b&r=%27%3C%22%C3%BC"},
		{"https://e.example/a?100%&x=/../?y", "https://e.example/a?100%&x=/../?y"},
		{"https://e.example/a?x=1#frag?ment", "https://e.example/a?x=1"},
		{"https://e.example/?mail=me@example.com", "https://e.example/?mail=me@example.com"},
	} {
		got, err := providers.NormalizeURL(c.raw)
		if err != nil || got != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.raw, got, err, c.want)
		}
	}
}

func TestNormalizeURLSaysWhyItRefuses(t *testing.T) {
	for _, c := range []struct{ raw, reason string }{
		{"", "empty"},
		{"/a.css", "not absolute"},
		{"www.example.com/a", "not absolute"},
		{"//www.example.com/a", "not absolute"},
		{"/x?u=http://e.example/", "not absolute"},
		{"ftp://e.example/", "want http or https"},
		{"https:///a", "no host"},
		{"https://", "no host"},
		{"https://e.example/img/*", "purge nothing"},
		{"https://*.example/", "purge nothing"},
		{"https://e.example/?a=*", "purge nothing"},
		{"https://bücher.example/", "xn--"},
		{"https://e.example/a%zz", "two hex digits"},
		{"https://e.example/100%", "two hex digits"},
		{"https://user:hunter2@e.example/", "credentials"},
		{`https://e.example\evil/`, `holds a \`},
		{`https://e.example/a\b`, `holds a \`},
		{"https://e.example/a\r\nX: y", "control character"},
		{"https://e.example/a ", "white space"},
		{"https://e.example/\xff", "UTF-8"},
		{"https://e.example:0/", "port"},
		{"https://e.example:65536/", "port"},
		{"https://e.example:8x/", "port"},
		{"https://-a.example/", "hyphen"},
		{"https://a..example/", "label"},
		{"https://a b.example/", "no place"},
		{"https://[::1/", "IPv6"},
		{"https://[127.0.0.1]/", "IPv6"},
		{"https://[fe80::1%25eth0]/", "zone"},
		{"https://" + strings.Repeat("a", 64) + ".example/", "label"},
		{"https://" + strings.Repeat("abcd.", 60) + "example/", "253"},
		{"https://e.example/" + strings.Repeat("a", 9000), "most"},
		{"https://e.example/" + strings.Repeat("ü", 3000), "once escaped"},
	} {
		got, err := providers.NormalizeURL(c.raw)
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%.80q: got %q, %v; want an error with %q", c.raw, got, err, c.reason)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 400) {
			t.Errorf("%.80q: the error shows a password or is %d bytes long", c.raw, len(err.Error()))
		}
	}
}

func TestNormalizePrefixIsHostAndPath(t *testing.T) {
	for _, c := range []struct{ raw, want, reason string }{
		{raw: "WWW.example.com/Img/", want: "www.example.com/Img/"},
		{raw: "https://www.example.com:443/img", want: "www.example.com/img"},
		{raw: "www.example.com", want: "www.example.com/"},
		{raw: "www.example.com:8080/a", want: "www.example.com:8080/a"},
		{raw: "www.example.com/a/../b", want: "www.example.com/b"},
		{raw: "www.example.com/a b", want: "www.example.com/a%20b"},
		{raw: "www.example.com/img/*", reason: "purge nothing"},
		{raw: "www.example.com/a?b", reason: "no query"},
		{raw: "www.example.com/a#b", reason: "no query"},
		{raw: "ftp://www.example.com/a", reason: "HOST/PATH"},
		{raw: "/img/", reason: "no host"},
		{raw: "", reason: "empty"},
	} {
		got, err := providers.NormalizePrefix(c.raw)
		check(t, c.raw, got, c.want, err, c.reason)
	}
}

func TestNormalizeHostIsANameOrAnAddress(t *testing.T) {
	for _, c := range []struct{ raw, want, reason string }{
		{raw: "WWW.Example.com.", want: "www.example.com"},
		{raw: "192.0.2.1", want: "192.0.2.1"},
		{raw: "[2001:db8::1]", want: "2001:db8::1"},
		{raw: "2001:DB8::1", want: "2001:db8::1"},
		{raw: "*.example.com", reason: "name each host"},
		{raw: "www.example.com:80", reason: "no place"},
		{raw: "https://www.example.com", reason: "no place"},
		{raw: "www.example.com/", reason: "no place"},
		{raw: "bücher.example", reason: "xn--"},
		{raw: "", reason: "no host"},
		{raw: ".", reason: "no host"},
	} {
		got, err := providers.NormalizeHost(c.raw)
		check(t, c.raw, got, c.want, err, c.reason)
	}
}

func TestNormalizeTagKeepsATagAsItIs(t *testing.T) {
	for _, c := range []struct{ raw, want, reason string }{
		{raw: "product-42", want: "product-42"},
		{raw: "Product:42", want: "Product:42"},
		{raw: strings.Repeat("a", 1024), want: strings.Repeat("a", 1024)},
		{raw: strings.Repeat("a", 1025), reason: "1024 is the most"},
		{raw: "", reason: "empty"},
		{raw: "a b", reason: "white space separates"},
		{raw: "a\nb", reason: "printable"},
		{raw: "größe", reason: "printable"},
		{raw: "a\xff", reason: "printable"},
	} {
		got, err := providers.NormalizeTag(c.raw)
		check(t, c.raw, got, c.want, err, c.reason)
	}
}

func check(t *testing.T, raw, got, want string, err error, reason string) {
	t.Helper()
	if got != want || (err == nil) != (reason == "") ||
		(err != nil && !strings.Contains(err.Error(), reason)) {
		t.Errorf("%q: got %q, %v; want %q or an error with %q", raw, got, err, want, reason)
	}
}

func TestTagWarningsNameWhatIsNotPortable(t *testing.T) {
	for tag, words := range map[string][]string{
		"a-z/0.9_~+":             nil,
		"product:42":             {"Akamai refuses :"},
		"Home":                   {"upper case"},
		"a,b":                    {"comma"},
		strings.Repeat("a", 120): nil,
		strings.Repeat("a", 121): {"121 bytes"},
		"A:,":                    {"upper case", "comma", "Akamai refuses :"},
	} {
		got := providers.TagWarnings(tag)
		if len(got) != len(words) {
			t.Errorf("%q: %q: want %d warnings", tag, got, len(words))
			continue
		}
		for i, w := range words {
			if !strings.Contains(got[i], w) {
				t.Errorf("%q: %q: want %q in it", tag, got[i], w)
			}
		}
	}
}

func TestNormalizeChoosesTheRuleOfTheKind(t *testing.T) {
	got := map[providers.Kind]string{}
	for kind, raw := range map[providers.Kind]string{
		providers.URL: "HTTP://E.example", providers.Prefix: "E.example",
		providers.Host: "E.example", providers.Tag: "E.example",
	} {
		n, err := providers.Normalize(kind, raw)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		got[kind] = n
	}
	want := map[providers.Kind]string{
		providers.URL: "http://e.example/", providers.Prefix: "e.example/",
		providers.Host: "e.example", providers.Tag: "E.example",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, kind := range []providers.Kind{providers.Everything, "", "all"} {
		if _, err := providers.Normalize(kind, "x"); err == nil {
			t.Errorf("%q: an item was accepted", kind)
		}
	}
}

// FuzzNormalizeURL takes net/url as the second opinion on what the result means.
func FuzzNormalizeURL(f *testing.F) {
	for _, s := range []string{"https://E.example:443/a/../b%2f?x=%#f", "http://[::1]:80/%zz",
		"https://u@e.example/", "http://e.example/*", "https://e.example/%2e%2E/..;/", "a://b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := providers.NormalizeURL(raw)
		if err != nil {
			return
		}
		if again, err := providers.NormalizeURL(got); err != nil || again != got {
			t.Fatalf("%q: %q becomes %q, %v", raw, got, again, err)
		}
		asNetURL(t, raw, got)
		plainASCII(t, raw, got)
	})
}

// asNetURL holds a normalised URL to what net/url reads in it.
func asNetURL(t *testing.T, raw, got string) {
	t.Helper()
	u, err := url.Parse(got)
	if err != nil {
		t.Fatalf("%q: net/url refuses %q: %v", raw, got, err)
	}
	path, query, _ := strings.Cut(got[strings.Index(got, "://")+3:], "?")
	switch {
	case u.Scheme+"://"+u.Host+u.EscapedPath() != strings.TrimSuffix(got, "?"+query):
		t.Errorf("%q: net/url reads %q as %q", raw, got, u)
	case u.RawQuery != query || u.Fragment != "" || u.User != nil:
		t.Errorf("%q: net/url finds query %q, fragment or user in %q", raw, u.RawQuery, got)
	case u.Scheme != "http" && u.Scheme != "https", u.Host != strings.ToLower(u.Host):
		t.Errorf("%q: scheme or host of %q", raw, got)
	case !strings.HasPrefix(u.Path, "/") || !strings.Contains(path, "/"):
		t.Errorf("%q: no path in %q", raw, got)
	}
	noDotSegments(t, raw, u.EscapedPath())
}

func noDotSegments(t *testing.T, raw, path string) {
	t.Helper()
	for s := range strings.SplitSeq(path, "/") {
		if d := strings.ReplaceAll(strings.ToLower(s), "%2e", "."); d == "." || d == ".." {
			t.Errorf("%q: a dot segment is left in %q", raw, path)
		}
	}
}

func FuzzNormalizePrefixAndHost(f *testing.F) {
	for _, s := range []string{"E.example/a b", "https://E.example:443/../", "[::1]:80/", "a.b."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for kind, rule := range map[providers.Kind]func(string) (string, error){
			providers.Prefix: providers.NormalizePrefix, providers.Host: providers.NormalizeHost,
		} {
			got, err := rule(raw)
			if err != nil {
				continue
			}
			if again, err := rule(got); err != nil || again != got {
				t.Fatalf("%s %q: %q becomes %q, %v", kind, raw, got, again, err)
			}
			plainASCII(t, raw, got)
			if kind == providers.Prefix {
				if u, err := providers.NormalizeURL("https://" + got); err != nil {
					t.Errorf("prefix %q is no URL with a scheme: %q, %v", raw, u, err)
				}
			}
		}
	})
}

func FuzzNormalizeTag(f *testing.F) {
	f.Add("product:42")
	f.Add("a,B c")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := providers.NormalizeTag(raw)
		if err != nil {
			return
		}
		if got != raw {
			t.Errorf("%q was changed to %q", raw, got)
		}
		for _, c := range []byte(got) {
			if c < 33 || c > 126 {
				t.Errorf("%q holds %q", raw, c)
			}
		}
		portable := len(got) <= 120
		for _, c := range []byte(got) {
			portable = portable && strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789._~+-/", c) >= 0
		}
		if w := providers.TagWarnings(got); portable != (len(w) == 0) {
			t.Errorf("%q: portable is %v, warnings are %q", got, portable, w)
		}
	})
}

func plainASCII(t *testing.T, raw, got string) {
	t.Helper()
	for _, c := range []byte(got) {
		if c <= ' ' || c > 126 || c == '*' {
			t.Errorf("%q: %q holds %q", raw, got, c)
		}
	}
}
