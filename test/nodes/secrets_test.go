package nodes_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pointsman/providers/providertest"
)

// hoard is a node whose every secret field holds a canary, and all that it let out.
type hoard struct {
	t       *testing.T
	fleet   *fleet
	dir     string
	admin   string
	redis   string
	config  string
	env     []string
	secrets map[string]string // canary by what it is
	heard   bytes.Buffer
	pieces  int
}

// canary makes a secret that is nowhere else.
func (h *hoard) canary(what string) string {
	c := "canary" + strings.ReplaceAll(what, "-", "") + "Zq7Xw" + fmt.Sprint(len(h.secrets))
	h.secrets[what] = c
	return c
}

// hear keeps something that a secret could have got into.
func (h *hoard) hear(where, text string) {
	h.pieces++
	fmt.Fprintf(&h.heard, "\n=== %s\n%s", where, text)
}

func (h *hoard) file(name, content string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

const hoardConfig = `node: hoard
state_dir: %q
log: {level: debug, format: json}
store: {kind: redis, redis: {address: %q, password_file: %q}}
dns: {listen: [%q]}
zones:
  - {name: example.test, ns: [ns.example.net]}
backends:
  - {name: one, addresses: [192.0.2.1], provider: fast, probe: {url: %q}}
pools:
  - {name: cdns, members: [{backend: one, weight: 1}]}
hosts:
  - {name: cdn.example.test, pools: [cdns]}
providers:
  - {name: fast, kind: fastly, base_url: %q, service_id: NodesTestService1, token_file: %q}
  - {name: cloud, kind: cloudflare, base_url: %q, zone_id: 023e105f4ecef8ad9ca31a8372d0c353, token_env: CLOUD_TOKEN}
  - {name: fleet, kind: edge, nodes: [%q], token_env: FLEET_TOKEN}
admin:
  listen: %q
  tokens:
    - {name: boss, token_file: %q, scopes: [admin]}
    - {name: reader, token_env: READER_TOKEN, scopes: [read]}
`

func newHoard(t *testing.T) *hoard {
	f := newFleet(t)
	h := &hoard{t: t, fleet: f, dir: t.TempDir(), secrets: map[string]string{}, redis: f.redis}
	h.admin = f.lane.address(t, 3)
	// All three providers refuse the tokens: their doubles know others.
	doubles := map[string]http.Handler{
		"fastly": providertest.NewFastly(providertest.FastlyConfig{Token: "other", ServiceID: serviceID}),
		"cloudflare": providertest.NewCloudflare(providertest.CloudflareConfig{Token: "other",
			ZoneID: "023e105f4ecef8ad9ca31a8372d0c353"}),
		"edge": providertest.NewEdge(providertest.EdgeConfig{Token: "other"}),
	}
	urls := map[string]string{}
	for name, d := range doubles {
		s := httptest.NewServer(d)
		t.Cleanup(s.Close)
		urls[name] = s.URL
	}
	h.env = []string{"CLOUD_TOKEN=" + h.canary("cloud-token"), "FLEET_TOKEN=" + h.canary("fleet-token"),
		"READER_TOKEN=" + h.canary("reader-token")}
	password := h.file("redis-password", h.canary("redis-password")+"\n")
	h.config = h.file("node.yaml", fmt.Sprintf(hoardConfig, filepath.Join(h.dir, "state"), h.redis,
		password, f.lane.address(t, 3), f.site.URL, urls["fastly"],
		h.file("fast-token", h.canary("fast-token")+"\n"), urls["cloudflare"]+"/client/v4",
		urls["edge"], h.admin, h.file("boss-token", h.canary("boss-token")+"\n")))
	return h
}

// run runs a command with the secrets in its environment and keeps what it says.
func (h *hoard) run(args ...string) (string, int) {
	h.t.Helper()
	out, code := command(h.t, append(h.env, "POINTSMAN_ADMIN_URL=http://"+h.admin,
		"POINTSMAN_TOKEN_FILE="+filepath.Join(h.dir, "boss-token")), args...)
	h.hear("pointsman "+args[0], out)
	return out, code
}

// ask sends a request with a token and keeps the answer, header and all.
func (h *hoard) ask(method, path, token, body string) int {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	if path == "/v1/stream" {
		ctx, cancel = context.WithTimeout(ctx, 1500*time.Millisecond)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+h.admin+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body) // a stream ends with its deadline
	h.hear(fmt.Sprintf("%s %s: %d", method, path, res.StatusCode), fmt.Sprint(res.Header)+string(raw))
	return res.StatusCode
}

// TestNoSecretGetsOut plants a canary in every secret field, exercises what can be exercised,
// and looks for the canaries in all that came out.
func TestNoSecretGetsOut(t *testing.T) {
	t.Parallel()
	h := newHoard(t)
	server := redis(t, h.redis, h.secrets["redis-password"])
	h.help()
	h.check()
	node := launch(t, "hoard", h.env, binary, "serve", "--config", h.config)
	await(t, 20*time.Second, "the node is ready", func() bool {
		res, err := http.Get("http://" + h.admin + "/readyz")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	await(t, 10*time.Second, "it is in the store", func() bool {
		out, _ := h.run("status")
		return !strings.Contains(out, "out of reach")
	})
	h.purge()
	h.everyRoute()
	h.reload(node)
	server.kill() // and a Redis that wants another password
	server = redis(t, h.redis, "another-password")
	await(t, 10*time.Second, "the node is kept out of the store", func() bool {
		return strings.Contains(node.out.String(), "WRONGPASS") ||
			strings.Contains(node.out.String(), "out of reach")
	})
	h.everyRoute()
	node.signal(syscall.SIGABRT) // what a crash would write: every goroutine's stack
	<-node.done
	h.hear("the node's log and its stacks", node.out.String())
	if !strings.Contains(node.out.String(), "goroutine ") {
		t.Error("no stacks were written")
	}
	h.hear("the log of redis", server.out.String())
	h.files()
	h.judge()
}

// help asks every command for its help, with the secrets in the environment.
func (h *hoard) help() {
	h.t.Helper()
	name := regexp.MustCompile(`(?m)^  ([a-z]+) +\S`)
	var walk func(path []string)
	walk = func(path []string) {
		out, code := h.run(append(path, "--help")...)
		if code != 0 {
			h.t.Errorf("pointsman %v --help: exit code %d", path, code)
		}
		_, commands, found := strings.Cut(out, "\n\n")
		if !found || len(path) > 2 || !strings.Contains(out, "[command]") {
			return
		}
		for _, m := range name.FindAllStringSubmatch(commands, -1) {
			if m[1] != "pointsman" && m[1] != "completion" {
				walk(append(append([]string{}, path...), m[1]))
			}
		}
	}
	walk(nil)
	if n := strings.Count(h.heard.String(), "Usage:"); n < 20 {
		h.t.Errorf("found the help of %d commands only", n)
	}
}

// check has the good config checked, and bad ones: a secret where its file's name belongs to,
// in a key that does not exist, in the environment, empty, of the wrong type.
func (h *hoard) check() {
	h.t.Helper()
	if out, code := h.run("check", h.config); code != 0 {
		h.t.Fatalf("the config is not good:\n%s", out)
	}
	raw, err := os.ReadFile(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	config := string(raw)
	for i, swap := range [][2]string{
		{"token_env: CLOUD_TOKEN", "token: " + h.secrets["cloud-token"]},
		{"token_env: CLOUD_TOKEN", "token_env: CLOUD_TOKEN, api_token: " + h.secrets["cloud-token"]},
		{"token_env: CLOUD_TOKEN", "token_env: [" + h.secrets["cloud-token"] + "]"},
		{"token_env: CLOUD_TOKEN", "token_env: {value: " + h.secrets["cloud-token"] + "}"},
		{"password_file", "password: " + h.secrets["redis-password"] + ", password_file"},
		{"token_env: READER_TOKEN", "token: " + h.secrets["reader-token"]},
		{"token_env: READER_TOKEN", "token_env: READER_TOKEN, token_file: " + h.dir + "/boss-token"},
		{"token_env: CLOUD_TOKEN", "token_env: " + h.secrets["cloud-token"]},
		{"token_env: CLOUD_TOKEN", "token_file: " + h.secrets["cloud-token"]},
		{"weight: 1", "weight: heavy"},
	} {
		if !strings.Contains(config, swap[0]) {
			h.t.Fatalf("the config has no %q", swap[0])
		}
		bad := h.file(fmt.Sprintf("bad-%d.yaml", i), strings.Replace(config, swap[0], swap[1], 1))
		for _, args := range [][]string{{"check", bad}, {"serve", "--config", bad}, {"probe", "--config", bad}} {
			if out, code := h.run(args...); code == 0 {
				h.t.Errorf("%v was taken:\n%s", args, out)
			}
		}
		if err := os.Remove(bad); err != nil { // it holds the secret itself
			h.t.Fatal(err)
		}
	}
	if out, code := h.run("check", h.config, "--set",
		"store.redis.password="+h.secrets["redis-password"]); code == 0 {
		h.t.Errorf("a password as a flag was taken:\n%s", out)
	}
	h.env = append(h.env, "POINTSMAN_STORE__REDIS__PASSWORD="+h.secrets["redis-password"])
	if out, code := h.run("check", h.config); code == 0 {
		h.t.Errorf("a password in the environment was taken:\n%s", out)
	}
	h.env = h.env[:len(h.env)-1]
}

// purge fails everywhere with 401.
func (h *hoard) purge() {
	h.t.Helper()
	out, code := h.run("purge", "--tag", "x", "--wait", "--timeout", "10s")
	if code == 0 || !strings.Contains(out, "401") && !strings.Contains(strings.ToLower(out), "token") {
		h.t.Errorf("exit code %d, and it does not say that the tokens were refused:\n%s", code, out)
	}
	h.run("purge", "list")
	h.run("providers")
}

// everyRoute asks for everything with the boss's token, a reader's, a wrong one and none.
func (h *hoard) everyRoute() {
	h.t.Helper()
	wrong := h.secrets["wrong-token"]
	if wrong == "" {
		wrong = h.canary("wrong-token")
	}
	boss, reader := h.secrets["boss-token"], h.secrets["reader-token"]
	for _, path := range []string{"/v1/status", "/v1/explain?name=cdn.example.test", "/v1/explain?name=x",
		"/v1/events", "/v1/audit", "/v1/overrides", "/v1/drills", "/v1/purges", "/v1/providers",
		"/metrics", "/openapi.json", "/openapi.yaml", "/healthz", "/readyz", "/", "/console.js", "/v1/x"} {
		for _, token := range []string{boss, reader, wrong, ""} {
			h.ask("GET", path, token, "")
		}
	}
	h.ask("GET", "/v1/stream", boss, "")
	for _, c := range [][3]string{
		{"POST", "/v1/overrides", `{"kind":"drain","backend":"one","reason":"r","for":"1m"}`},
		{"POST", "/v1/overrides", `{"kind":"drain","backend":"nobody","reason":"r","for":"1m"}`},
		{"POST", "/v1/overrides", `{"token":"` + wrong + `"}`},
		{"POST", "/v1/drills", `{"backend":"one","for":"10s","confirm":"one"}`},
		{"POST", "/v1/purges", `{"kind":"url","items":["https://cdn.example.test/a"]}`},
		{"POST", "/v1/edge/purge", `{"kind":"everything"}`}, {"POST", "/v1/reload", ""},
		{"DELETE", "/v1/overrides/none", ""}, {"BREW", "/v1/status", ""},
	} {
		for _, token := range []string{boss, reader, wrong, ""} {
			if c[2] == `{"token":"`+wrong+`"}` && token != boss {
				continue
			}
			h.ask(c[0], c[1], token, c[2])
		}
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"audit"}, {"overrides"},
		{"explain", "cdn.example.test", "--client", "192.0.2.1"}, {"drill", "status"}} {
		h.run(args...)
	}
}

// reload has the node refuse a config with a secret in the wrong place, and take a good one.
func (h *hoard) reload(node *process) {
	h.t.Helper()
	good, err := os.ReadFile(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	h.file("node.yaml", strings.Replace(string(good), "token_env: CLOUD_TOKEN",
		"token: "+h.secrets["cloud-token"], 1))
	if out, code := h.run("reload"); code == 0 {
		h.t.Errorf("a bad config was taken:\n%s", out)
	}
	h.file("node.yaml", string(good))
	if out, code := h.run("reload"); code != 0 {
		h.t.Errorf("a good config was refused:\n%s", out)
	}
	node.signal(syscall.SIGHUP)
}

// files looks at what the node wrote to disk.
func (h *hoard) files() {
	h.t.Helper()
	found := 0
	err := filepath.WalkDir(filepath.Join(h.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		found++
		h.hear("file "+path, string(raw))
		return err
	})
	if err != nil || found == 0 {
		h.t.Errorf("%d files in the state folder, %v", found, err)
	}
}

// judge looks for every canary, plain and as it would look in hex, base64 or JSON.
func (h *hoard) judge() {
	h.t.Helper()
	text := h.heard.Bytes()
	h.t.Logf("%d canaries, %d outputs, %d bytes", len(h.secrets), h.pieces, len(text))
	if h.pieces < 150 || len(text) < 200_000 {
		h.t.Errorf("that is too little to have exercised everything")
	}
	for what, canary := range h.secrets {
		for form, needle := range forms(canary) {
			at := bytes.Index(text, []byte(needle))
			if at < 0 {
				continue
			}
			where := bytes.LastIndex(text[:at], []byte("\n=== "))
			line, _, _ := strings.Cut(string(text[where+1:]), "\n")
			h.t.Errorf("%s (%s) is in %q: …%s…", what, form, line,
				text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// forms are a secret as it stands and as encoders would write it.
func forms(s string) map[string]string {
	return map[string]string{"plain": s, "hex": hex.EncodeToString([]byte(s)),
		"base64": base64.StdEncoding.EncodeToString([]byte(s))[:len(s)]}
}
