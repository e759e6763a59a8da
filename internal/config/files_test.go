package config_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

func must(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// folder writes files below a new folder, with their modes, and returns it.
func folder(t *testing.T, mode os.FileMode, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var withSecret = strings.Replace(small, "{name: a,", "{name: a, provider: p,", 1) + `providers:
  - {name: p, kind: edge, nodes: ["http://127.0.0.1:1"], token_file: token}
store: {kind: redis, redis: {address: "127.0.0.1:6379", password_env: REDIS_PASSWORD}}
`

func TestASecretFileOthersMayReadIsRefusedAndOneTheGroupMayReadWarnedOf(t *testing.T) {
	for _, c := range []struct {
		mode       os.FileMode
		err, warns string
	}{
		{0o600, "", ""},
		{0o400, "", ""},
		{0o640, "", `x.yaml:14:70: providers[0].token_file: "token" may be used by its group ` +
			"(mode 0640): chmod 600 unless the group is meant to\n"},
		{0o644, `x.yaml:14:70: providers[0].token_file: "token" may be used by everybody on ` +
			"this machine (mode 0644): chmod 600", ""},
		{0o602, `x.yaml:14:70: providers[0].token_file: "token" may be used by everybody on ` +
			"this machine (mode 0602): chmod 600", ""},
	} {
		dir := folder(t, c.mode, map[string]string{
			"token": "canary-token\n", "x.yaml": withSecret + "# " + c.mode.String(),
		})
		cfg, report, err := config.Load(config.Options{
			Path: filepath.Join(dir, "x.yaml"), Name: "x.yaml",
			Env: []string{"REDIS_PASSWORD=canary-password"},
		})
		message := ""
		if err != nil {
			message = err.Error()
		} else if got := cfg.Providers[0].Token.Reveal(); got != "canary-token" {
			t.Errorf("%04o: the token is %q", c.mode, got)
		}
		warnings := lines(report.Warnings)
		if diff := cmp.Diff([]string{c.err, c.warns}, []string{message, warnings}); diff != "" {
			t.Errorf("%04o (-want +got):\n%s", c.mode, diff)
		}
	}
}

func TestRelativeFileNamesStartAtTheConfigsFolder(t *testing.T) {
	dir := folder(t, 0o600, map[string]string{
		"token": "canary-token", "x.yaml": withSecret + "state_dir: state\n",
	})
	cfg, _, err := config.Load(config.Options{
		Path: filepath.Join(dir, "x.yaml"), Env: []string{"REDIS_PASSWORD=p"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "token"), filepath.Join(dir, "state")}
	if diff := cmp.Diff(want, []string{cfg.Providers[0].TokenFile, cfg.StateDir}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoFormatVerbAndNoJSONShowsASecretOfTheConfig(t *testing.T) {
	dir := folder(t, 0o600, map[string]string{"token": "canary-token", "x.yaml": withSecret})
	cfg, report, err := config.Load(config.Options{
		Path: filepath.Join(dir, "x.yaml"), Env: []string{"REDIS_PASSWORD=canary-password"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Store.Redis.Password.Reveal() != "canary-password" {
		t.Error("the password is not there at all")
	}
	var all strings.Builder
	type holder struct {
		Config    *config.Config
		Providers []*config.Provider
	}
	for _, v := range []any{
		cfg, *cfg, cfg.Providers, cfg.Store.Redis, *cfg.Store.Redis, report,
		holder{cfg, []*config.Provider{&cfg.Providers[0]}},
	} {
		fmt.Fprintf(&all, "%v %+v %#v %s %q %x %d %e %t\n", v, v, v, v, v, v, v, v, v)
	}
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all.Write(encoded)
	if strings.Contains(all.String(), "canary") ||
		strings.Contains(all.String(), fmt.Sprintf("%x", "canary")) {
		t.Errorf("a secret is shown: %s", all.String())
	}
}

// pair makes a self-signed certificate and its key, in PEM.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"admin.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	var c, k bytes.Buffer
	if err := pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	if err := pem.Encode(&k, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}); err != nil {
		t.Fatal(err)
	}
	return c.String(), k.String()
}

func TestAPublicAdminAddressIsTakenWithTLSAndATokenOnly(t *testing.T) {
	cert, key := pair(t)
	other, _ := pair(t)
	admin := strings.Replace(small, "admin:\n  listen: 127.0.0.1:9000", "admin:\n"+
		"  listen: 192.0.2.1:9000\n"+
		"  tls: {cert_file: cert.pem, key_file: key.pem}\n"+
		"  tokens: [{name: ci, token_env: CI_TOKEN, scopes: [read, purge]}]", 1)
	check := func(cert, want string, mode os.FileMode) {
		t.Helper()
		dir := folder(t, mode, map[string]string{
			"cert.pem": cert, "key.pem": key, "x.yaml": admin,
		})
		cfg, _, err := config.Load(config.Options{
			Path: filepath.Join(dir, "x.yaml"), Name: "x", Env: []string{"CI_TOKEN=canary"},
		})
		got := ""
		if err != nil {
			got = err.Error()
		} else if cfg.Admin.Tokens[0].Token.Reveal() != "canary" {
			t.Error("the token was not read")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(cert, "", 0o600)
	check(other, "x:13:20: admin.tls.cert_file: certificate and key do not fit: private key does "+
		"not match public key", 0o600)
	check(cert, `x:13:40: admin.tls.key_file: "key.pem" may be used by everybody on this machine `+
		"(mode 0604): chmod 600", 0o604)
}

func TestAnAuthorityFileIsTried(t *testing.T) {
	cert, _ := pair(t)
	dir := folder(t, 0o644, map[string]string{
		"ca.pem": cert, "x.yaml": strings.Replace(small, `{kind: tcp, address: "192.0.2.1:80"}`,
			`{url: "https://192.0.2.1/", ca_file: ca.pem}`, 1),
	})
	cfg, _, err := config.Load(config.Options{Path: filepath.Join(dir, "x.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.Backends[0].Probe.CAFile, filepath.Join(dir, "ca.pem"); got != want {
		t.Errorf("ca_file is %q, want %q", got, want)
	}
}

func TestAConfigThatCannotBeReadSaysWhy(t *testing.T) {
	for path, want := range map[string]string{
		"/nonexistent/pointsman.yaml": "x: cannot be read: there is no such file",
		t.TempDir():                   "x: cannot be read: it is a directory",
	} {
		cfg, report, err := config.Load(config.Options{Path: path, Name: "x"})
		if cfg != nil || report == nil || fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
