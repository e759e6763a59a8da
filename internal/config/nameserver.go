package config

import (
	"encoding/hex"

	"pointsman/internal/secret"
)

// Most octets of what the nameserver says of itself.
const (
	maxNSID    = 64
	maxVersion = 255
)

// nameserver checks what the nameserver says of itself.
func (c *checker) nameserver() {
	d := c.cfg.DNS
	if len(d.NSID) > maxNSID {
		c.mistake("dns.nsid", "has %d octets: at most %d", len(d.NSID), maxNSID)
	}
	if len(d.Version) > maxVersion {
		c.mistake("dns.version", "has %d octets: at most %d", len(d.Version), maxVersion)
	}
}

// cookies reads the secrets of DNS cookies.
func (l *loader) cookies(c *Cookies) {
	const at = "dns.cookies"
	c.Secret = l.cookieSecret(at, "secret", &c.SecretFile, c.SecretEnv)
	c.Previous = l.cookieSecret(at, "previous_secret", &c.PreviousSecretFile, c.PreviousSecretEnv)
	if c.SecretFile+c.SecretEnv == "" && c.PreviousSecretFile+c.PreviousSecretEnv != "" {
		l.mistake(at, complain("has a previous secret and no secret: give secret_file or secret_env"))
	}
}

// cookieSecret reads a secret of 128 bits. No finding shows any of it.
func (l *loader) cookieSecret(at, what string, file *string, variable string) secret.String {
	s := l.credential(at, what, file, variable)
	if s.IsZero() {
		return s
	}
	if raw, err := hex.DecodeString(s.Reveal()); err == nil && len(raw) == 16 {
		return s
	}
	path := child(at, what+"_file")
	if *file == "" {
		path = child(at, what+"_env")
	}
	l.mistake(path, complain("does not lead to 32 hexadecimal digits: make them with "+
		"openssl rand -hex 16"))
	return secret.String{}
}
