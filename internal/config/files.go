package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"pointsman/internal/secret"
)

// maxSecret is the longest secret, in bytes; maxPEM the largest certificate file.
const (
	maxSecret = 64 << 10
	maxPEM    = 1 << 20
)

// files resolves file names against the configuration file's folder, reads the secrets and
// tries the certificates, so that `pointsman check` finds what would stop a start.
func (l *loader) files(cfg *Config) {
	l.absolute(&cfg.StateDir)
	l.absolute(&cfg.Geo.Country)
	for i := range cfg.Geo.Files {
		l.absolute(&cfg.Geo.Files[i])
	}
	if d := cfg.DNS.DecisionLog; d != nil {
		l.absolute(&d.File)
	}
	l.written(&cfg.DNS)
	for i := range cfg.Zones {
		l.absolute(&cfg.Zones[i].File)
	}
	if r := cfg.Store.Redis; r != nil {
		r.Password = l.credential("store.redis", "password", &r.PasswordFile, r.PasswordEnv)
		if r.TLS != nil {
			l.authorities("store.redis.tls.ca_file", &r.TLS.CAFile)
		}
	}
	l.cookies(&cfg.DNS.Cookies)
	for i := range cfg.Zones {
		if d := cfg.Zones[i].DNSSEC; d != nil {
			l.absolute(&d.KeyDir)
		}
	}
	for i := range cfg.TSIGKeys {
		k := &cfg.TSIGKeys[i]
		k.Secret = l.credential(element("tsig_keys", i), "secret", &k.SecretFile, k.SecretEnv)
		l.sharedKey(element("tsig_keys", i), k)
	}
	for i := range cfg.Backends {
		l.authorities(element("backends", i)+".probe.ca_file", &cfg.Backends[i].Probe.CAFile)
	}
	for i := range cfg.Feeds {
		f, at := &cfg.Feeds[i], element("feeds", i)
		f.Token = l.credential(at, "token", &f.TokenFile, f.TokenEnv)
		l.authorities(at+".ca_file", &f.CAFile)
	}
	for i := range cfg.Providers {
		p, at := &cfg.Providers[i], element("providers", i)
		p.Token = l.credential(at, "token", &p.TokenFile, p.TokenEnv)
		l.authorities(at+".ca_file", &p.CAFile)
	}
	for i := range cfg.Admin.Tokens {
		t := &cfg.Admin.Tokens[i]
		t.Token = l.credential(element("admin.tokens", i), "token", &t.TokenFile, t.TokenEnv)
	}
	l.distinctTokens(cfg)
	if t := cfg.Admin.TLS; t != nil {
		l.certificate("admin.tls", &t.CertFile, &t.KeyFile)
	}
	if t := cfg.DNS.TLS; t != nil {
		l.certificate("dns.tls", &t.CertFile, &t.KeyFile)
	}
}

// absolute makes a relative name start at the configuration file's folder.
func (l *loader) absolute(name *string) {
	if l.opts.Path != "" && *name != "" && !filepath.IsAbs(*name) {
		*name = filepath.Join(filepath.Dir(l.opts.Path), *name)
	}
}

// credential reads the secret of the section at path. What the operator wrote is shown only
// when it looks like a name: it could be the secret itself, in the wrong place.
func (l *loader) credential(path, what string, file *string, variable string) secret.String {
	atFile, atEnv := child(path, what+"_file"), child(path, what+"_env")
	switch {
	case *file != "" && variable != "":
		l.mistake(atEnv, complain("%s_file is given too: one of them is enough", what))
	case *file != "":
		return l.secretFile(atFile, file)
	case variable != "":
		return l.secretVariable(atEnv, variable)
	}
	return secret.String{}
}

func (l *loader) secretVariable(path, name string) secret.String {
	label := "the variable (its name isn't shown, in case it is the secret itself)"
	if regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`).MatchString(name) && len(name) < 48 {
		label = "the variable " + name
	}
	for i := len(l.opts.Env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(l.opts.Env[i], name+"="); ok {
			return l.usable(path, label, []byte(value))
		}
	}
	l.mistake(path, complain("%s is not set", label))
	return secret.String{}
}

func (l *loader) secretFile(path string, file *string) secret.String {
	label := "the file (its name isn't shown, in case it is the secret itself)"
	if strings.ContainsAny(*file, "/.") || len(*file) < 16 {
		label = shown(*file)
	}
	l.absolute(file)
	data, total, err := readFile(*file, maxSecret)
	switch {
	case err != nil:
		l.mistake(path, complain("%s cannot be read: %s", label, reason(err)))
		return secret.String{}
	case total > maxSecret:
		l.mistake(path, complain("%s is larger than a secret can be (64 KiB)", label))
		return secret.String{}
	}
	l.private(path, label, *file)
	return l.usable(path, label, data)
}

// private looks at who else may read a file that holds a secret.
func (l *loader) private(path, label, file string) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return // a pipe or a device has its own guards
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o007 != 0:
		l.mistake(path, complain("%s may be used by everybody on this machine (mode %04o): "+
			"chmod 600", label, mode))
	case mode&0o070 != 0:
		l.report.Warnings = append(l.report.Warnings, l.src.Finding(path,
			fmt.Sprintf("%s may be used by its group (mode %04o): chmod 600 unless the group "+
				"is meant to", label, mode)))
	}
}

// usable takes the final line break away, and refuses what no API takes as a credential.
func (l *loader) usable(path, label string, data []byte) secret.String {
	value := bytes.TrimRight(data, "\r\n")
	switch {
	case len(value) == 0:
		l.mistake(path, complain("%s is empty", label))
	case !utf8.Valid(value) || bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' }):
		l.mistake(path, complain("%s holds more than one line, or is not text", label))
	case len(bytes.TrimSpace(value)) != len(value):
		l.mistake(path, complain("%s begins or ends with a blank", label))
	default:
		return secret.New(string(value))
	}
	return secret.String{}
}

// shortToken is the length below which a token can be guessed by whoever tries long enough.
const shortToken = 20

// distinctTokens refuses one token under two names: the audit log could not tell them apart.
// It warns of tokens that can be guessed.
func (l *loader) distinctTokens(cfg *Config) {
	seen := map[string]string{}
	for i := range cfg.Admin.Tokens {
		t := &cfg.Admin.Tokens[i]
		if t.Token.IsZero() {
			continue
		}
		if n := len(t.Token.Reveal()); n < shortToken {
			l.report.Warnings = append(l.report.Warnings, l.src.Finding(element("admin.tokens", i),
				fmt.Sprintf("the token has %d characters and can be guessed: take %d random ones or more",
					n, shortToken)))
		}
		if first, twice := seen[t.Token.Reveal()]; twice {
			l.mistake(element("admin.tokens", i), complain("has the same token as %s", first))
			continue
		}
		seen[t.Token.Reveal()] = shown(t.Name)
	}
}

// authorities tries a file of certificates to trust.
func (l *loader) authorities(path string, file *string) {
	if *file == "" {
		return
	}
	written := *file
	l.absolute(file)
	data, _, err := readFile(*file, maxPEM)
	switch {
	case err != nil:
		l.mistake(path, complain("%s cannot be read: %s", shown(written), reason(err)))
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		l.mistake(path, complain("%s holds no certificate in PEM", shown(written)))
	}
}

// certificate tries the certificate and key of a section.
func (l *loader) certificate(section string, certFile, keyFile *string) {
	cert, key := section+".cert_file", section+".key_file"
	var pem [2][]byte
	for i, f := range []struct {
		path string
		file *string
	}{{cert, certFile}, {key, keyFile}} {
		written := *f.file
		if written == "" {
			continue // reported as missing
		}
		l.absolute(f.file)
		data, _, err := readFile(*f.file, maxPEM)
		if err != nil {
			l.mistake(f.path, complain("%s cannot be read: %s", shown(written), reason(err)))
			continue
		}
		if f.path == key {
			l.private(key, shown(written), *f.file)
		}
		pem[i] = data
	}
	if pem[0] == nil || pem[1] == nil {
		return
	}
	pair, err := tls.X509KeyPair(pem[0], pem[1])
	if err != nil {
		l.mistake(cert, complain("certificate and key do not fit: %s",
			strings.TrimPrefix(err.Error(), "tls: ")))
		return
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		l.report.Warnings = append(l.report.Warnings, l.src.Finding(cert,
			"the certificate has ended on "+end.UTC().Format(time.DateTime)))
	}
}
