package cluster_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// site is a small origin server that can be stopped and started again on its address.
type site struct {
	addr    string
	server  *http.Server
	edition atomic.Int64 // what its lasting page says
}

// page is what the origin's page says.
const page = "the page of the origin"

func startSite(t *testing.T, addr string) *site {
	t.Helper()
	s := &site{addr: addr}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func (s *site) start(t *testing.T) {
	t.Helper()
	var l net.Listener
	await(t, 5*time.Second, s.addr+" is free", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", s.addr)
		return err == nil
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=2")
		w.Header().Set("ETag", `"one"`)
		fmt.Fprint(w, page)
	})
	mux.HandleFunc("GET /lasting", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, "edition ", s.edition.Load())
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		for range 20 { // two seconds in all
			fmt.Fprint(w, page)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	server := s.server
	go func() { _ = server.Serve(l) }() // ends with stop
}

// stop closes the listener and every connection, as a crash would.
func (s *site) stop() { _ = s.server.Close() }

// cache is an HTTP cache in front of the origin.
type cache struct {
	*process
	name, addr string
	launch     func() *process
}

// start starts the cache and waits until it serves.
func (c *cache) start(t *testing.T) {
	t.Helper()
	c.process = c.launch()
	await(t, 30*time.Second, c.name+" serves", func() bool {
		if !c.running() {
			t.Fatalf("%s ended at its start:\n%s", c.name, c.out.String())
		}
		res, err := fetch(c.addr)
		return err == nil && res.StatusCode == http.StatusOK && res.Header.Get("X-CDN") == c.name
	})
}

// fetch gets the page of the steered name from an address.
func fetch(addr string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return nil, err
	}
	req.Host, req.Close = "cdn.example.test", true
	client := http.Client{Timeout: 2 * time.Second}
	res, err := client.Do(req)
	if err == nil {
		res.Body.Close()
	}
	return res, err
}

const nginxConf = `daemon off; pid %[1]s/nginx.pid; error_log stderr warn; worker_processes 1;
%[5]s
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  proxy_cache_path %[1]s/cache keys_zone=pages:1m max_size=16m;
  server {
    listen %[2]s;
    location / {
      proxy_pass http://%[3]s;
      proxy_set_header Host $host;
      proxy_cache pages; proxy_cache_lock on; proxy_cache_use_stale error timeout;
      add_header X-CDN %[4]s; add_header X-Cache $upstream_cache_status;
    }
  }
}
`

// newNginx prepares Debian's nginx as a caching proxy.
func newNginx(t *testing.T, name, addr, origin string) *cache {
	t.Helper()
	path, dir := tool(t, "nginx", "nginx-light"), t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its worker must reach the test's folder
	}
	conf := filepath.Join(dir, "nginx.conf")
	write(t, conf, fmt.Sprintf(nginxConf, dir, addr, origin, name, user))
	return &cache{name: name, addr: addr, launch: func() *process {
		return launch(t, name, path, "-p", dir, "-e", "stderr", "-c", conf)
	}}
}

const varnishVCL = `vcl 4.1;
backend origin { .host = "%s"; .port = "%s"; }
sub vcl_deliver { set resp.http.X-CDN = "%s"; }
`

// newVarnish prepares Debian's varnish.
func newVarnish(t *testing.T, name, addr, origin string) *cache {
	t.Helper()
	path, dir := tool(t, "varnishd", "varnish"), t.TempDir()
	tool(t, "gcc", "gcc") // varnish compiles its VCL
	host, port, err := net.SplitHostPort(origin)
	if err != nil {
		t.Fatal(err)
	}
	vcl := filepath.Join(dir, "default.vcl")
	write(t, vcl, fmt.Sprintf(varnishVCL, host, port, name))
	return &cache{name: name, addr: addr, launch: func() *process {
		return launch(t, name, path, "-F", "-j", "none", "-n", filepath.Join(dir, "work"),
			"-a", addr, "-f", vcl, "-s", "malloc,16m", "-T", "none", "-t", "1")
	}}
}

// write puts a file in place at once: nobody sees half of it.
func write(t *testing.T, path, content string) {
	t.Helper()
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}
