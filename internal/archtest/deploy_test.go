package archtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	yaml "go.yaml.in/yaml/v4"
)

// yamlDocuments reads every document of a file.
func yamlDocuments(t *testing.T, path string) []any {
	t.Helper()
	l, err := yaml.NewLoader(strings.NewReader(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for {
		var doc any
		err := l.Load(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: document %d: %v", path, len(out)+1, err)
		}
		out = append(out, doc)
	}
}

// at walks into maps and lists; nil when a step is missing.
func at(doc any, steps ...any) any {
	for _, s := range steps {
		switch s := s.(type) {
		case string:
			m, _ := doc.(map[string]any)
			doc = m[s]
		case int:
			l, _ := doc.([]any)
			if s >= len(l) {
				return nil
			}
			doc = l[s]
		}
	}
	return doc
}

func TestEveryYAMLFileOfTheDeploymentParses(t *testing.T) {
	n := 0
	err := filepath.WalkDir(filepath.Join(root, "deploy"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if len(yamlDocuments(t, rel)) == 0 {
			t.Errorf("%s is empty", rel)
		}
		n++
		return nil
	})
	if err != nil || n < 8 {
		t.Fatalf("found %d YAML files in deploy: %v", n, err)
	}
}

// rule is one alert of Prometheus.
type rule struct {
	Alert, Expr, Severity, Summary, Runbook string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var out []rule
	const file = "deploy/prometheus/rules.yml"
	for _, doc := range yamlDocuments(t, file) {
		groups, _ := at(doc, "groups").([]any)
		for _, g := range groups {
			list, _ := at(g, "rules").([]any)
			for _, r := range list {
				text := func(steps ...any) string { s, _ := at(r, steps...).(string); return s }
				out = append(out, rule{Alert: text("alert"), Expr: text("expr"),
					Severity: text("labels", "severity"), Summary: text("annotations", "summary"),
					Runbook: text("annotations", "runbook")})
			}
		}
	}
	if len(out) < 10 {
		t.Fatalf("%s has %d alerts: reading it is broken", file, len(out))
	}
	return out
}

// TestEveryAlertHasARunbook holds alerts to metrics that exist and to sections that exist, and
// every section of the runbook to an alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	known := metrics(t)
	sections := anchors(read(t, "docs/operations.md"))
	names := map[string]bool{}
	for _, r := range rules(t) {
		if names[r.Alert] || !strings.HasPrefix(r.Alert, "Pointsman") {
			t.Errorf("alert %q: want a name of its own that begins with Pointsman", r.Alert)
		}
		names[r.Alert] = true
		checkExpr(t, "alert "+r.Alert, r.Expr, known)
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Severity) || r.Summary == "" {
			t.Errorf("alert %s: severity %q, summary %q", r.Alert, r.Severity, r.Summary)
		}
		anchor, ok := strings.CutPrefix(r.Runbook, "docs/operations.md#")
		if !ok || !slices.Contains(sections, anchor) {
			t.Errorf("alert %s: the runbook %q is no section of docs/operations.md", r.Alert, r.Runbook)
		}
		if !strings.Contains(read(t, "docs/operations.md"), "`"+r.Alert+"`") {
			t.Errorf("docs/operations.md does not name %s", r.Alert)
		}
	}
}

// TestTheDeploymentFitsTogether holds the pieces to the names that they use of each other.
func TestTheDeploymentFitsTogether(t *testing.T) {
	compose := yamlDocuments(t, "deploy/compose/compose.yaml")[0]
	services, _ := at(compose, "services").(map[string]any)
	for name, s := range services {
		volumes, _ := at(s, "volumes").([]any)
		for _, v := range volumes {
			from, _, _ := strings.Cut(v.(string), ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := at(compose, "volumes").(map[string]any)[from]; !ok {
					t.Errorf("compose: %s uses volume %q, which is not declared", name, from)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join(root, "deploy/compose", from)); err != nil {
				t.Errorf("compose: %s mounts %s: %v", name, from, err)
			}
		}
	}
	for _, must := range []string{"pointsman", "valkey", "prometheus", "grafana"} {
		if services[must] == nil {
			t.Errorf("compose has no service %s", must)
		}
	}
	if got := at(compose, "services", "pointsman", "build", "dockerfile"); got != "deploy/compose/Dockerfile" {
		t.Errorf("compose builds %v", got)
	}
	for _, line := range []string{"CGO_ENABLED=0", "USER 65532", "FROM scratch", "/src/NOTICE"} {
		if !strings.Contains(read(t, "deploy/compose/Dockerfile"), line) {
			t.Errorf("the Dockerfile lacks %q", line)
		}
	}
	valkey := read(t, "deploy/valkey/valkey.conf")
	for _, line := range []string{"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"} {
		if !strings.Contains(valkey, "\n"+line+"\n") {
			t.Errorf("valkey.conf lacks %q", line)
		}
	}
	unit := read(t, "deploy/systemd/pointsman.service")
	for _, line := range []string{"ProtectSystem=strict", "NoNewPrivileges=yes", "User=pointsman",
		"CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "StateDirectory=pointsman",
		"ExecReload=/bin/kill -HUP $MAINPID", "Restart=always"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %q", line)
		}
	}
	scraped := at(yamlDocuments(t, "deploy/prometheus/prometheus.yml")[0], "scrape_configs", 0, "job_name")
	if scraped != "pointsman" {
		t.Errorf("Prometheus scrapes the job %v, and the alerts ask for pointsman", scraped)
	}
}

// TestConfigsOfTheDeploymentAreGood runs `pointsman check` on the annotated example and on the
// configs of compose and Kubernetes, with secrets made here.
func TestConfigsOfTheDeploymentAreGood(t *testing.T) {
	var kubernetes string
	for _, doc := range yamlDocuments(t, "deploy/kubernetes/pointsman.yaml") {
		if at(doc, "kind") == "ConfigMap" {
			kubernetes, _ = at(doc, "data", "pointsman.yaml").(string)
		}
	}
	for name, text := range map[string]string{
		"example":    read(t, "deploy/config/pointsman.example.yaml"),
		"compose":    read(t, "deploy/compose/pointsman.yaml"),
		"kubernetes": kubernetes,
	} {
		t.Run(name, func(t *testing.T) {
			dir := secrets(t)
			path := filepath.Join(dir, "pointsman.yaml")
			text = strings.ReplaceAll(text, "/etc/pointsman/", dir+"/")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(binary(t), "check", path)
			c.Env = []string{"CLOUDFLARE_TOKEN=not-a-token", "POINTSMAN_NODE=node-0"}
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			if err := c.Run(); err != nil || !strings.Contains(out.String(), ": good: ") {
				t.Errorf("pointsman check: %v\n%s", err, &out)
			}
		})
	}
}

// secrets makes every file that the configs name below /etc/pointsman.
func secrets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"fastly-token", "edge-token", "secrets/ops-token",
		"secrets/prometheus-token", "secrets/redis-password", "secrets/fastly-token"} {
		write(name, []byte("not-a-secret-"+name+"\n"))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"node-0"}}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	private, err2 := x509.MarshalECPrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	write("tls/tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write("tls/tls.key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	return dir
}
