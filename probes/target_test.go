package probes_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes"
)

func TestATargetTellsAllItsMistakes(t *testing.T) {
	web := func(change func(*probes.Target)) probes.Target {
		t := probes.Target{Name: "n", Backend: "b", URL: "https://site.test/healthz"}
		change(&t)
		return t
	}
	for _, c := range []struct {
		name   string
		target probes.Target
		paths  []string
	}{
		{"a good one", web(func(*probes.Target) {}), nil},
		{"everything set", web(func(t *probes.Target) {
			t.Kind, t.Address, t.Host, t.Method = probes.HTTP, "[::1]:443", "cdn.test:8443", "GET"
			t.Interval, t.Timeout, t.MaxBody = time.Second, time.Second, 100
			t.Headers = map[string]string{"X-Probe": "1"}
			t.Expect = probes.Expect{Status: []int{200, 503}, Body: "ok",
				Headers: map[string]string{"ETag": ""}}
		}), nil},
		{"a good tcp one",
			probes.Target{Name: "n", Backend: "b", Kind: "tcp", Address: "h.test:25"}, nil},
		{"nothing set", probes.Target{}, []string{"name", "backend", "url"}},
		{"kind", web(func(t *probes.Target) { t.Kind = "udp" }), []string{"kind"}},
		{"tcp without address", web(func(t *probes.Target) { t.Kind = probes.TCP }),
			[]string{"address", "url"}},
		{"scheme", web(func(t *probes.Target) { t.URL = "ftp://site.test/" }),
			[]string{"url"}},
		{"password", web(func(t *probes.Target) { t.URL = "http://u:p@site.test/" }),
			[]string{"url"}},
		{"no host", web(func(t *probes.Target) { t.URL = "http:///x" }), []string{"url"}},
		{"port of url", web(func(t *probes.Target) { t.URL = "http://h.test:99999/" }),
			[]string{"url"}},
		{"not a url", web(func(t *probes.Target) { t.URL = "http://%zz/" }), []string{"url"}},
		{"address", web(func(t *probes.Target) { t.Address = "192.0.2.1" }),
			[]string{"address"}},
		{"address port", web(func(t *probes.Target) { t.Address = "192.0.2.1:0" }),
			[]string{"address"}},
		{"host", web(func(t *probes.Target) { t.Host = "a\r\nX: y" }), []string{"host"}},
		{"method", web(func(t *probes.Target) { t.Method = "DELETE" }), []string{"method"}},
		{"headers", web(func(t *probes.Target) {
			t.Headers = map[string]string{"Host": "x", "a b": "", "c": "d\ne"}
		}), []string{"headers.Host", "headers.a b", "headers.c"}},
		{"status", web(func(t *probes.Target) { t.Expect.Status = []int{200, 99} }),
			[]string{"expect.status[1]"}},
		{"body of head", web(func(t *probes.Target) {
			t.Method, t.Expect.Body = "HEAD", "x"
		}), []string{"expect.body"}},
		{"body longer than read", web(func(t *probes.Target) {
			t.MaxBody, t.Expect.Body = 1, "xx"
		}), []string{"expect.body"}},
		{"expected header", web(func(t *probes.Target) {
			t.Expect.Headers = map[string]string{"": "x"}
		}), []string{"expect.headers."}},
		{"times", web(func(t *probes.Target) {
			t.Interval, t.Timeout, t.MaxBody = time.Millisecond, 2*time.Minute, -1
		}), []string{"interval", "timeout", "max_body"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var paths []string
			for _, m := range c.target.Check() {
				paths = append(paths, m.Path)
				if m.Message == "" {
					t.Errorf("%s has no message", m.Path)
				}
			}
			if d := cmp.Diff(c.paths, paths); d != "" {
				t.Error("paths (-want +got):", d)
			}
		})
	}
}
