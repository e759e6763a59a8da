package app_test

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/secret"
	"pointsman/steering/cookie"
)

// cookie asks with a client cookie, and returns the whole one that comes back.
func (n *node) cookie() []byte {
	n.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.example.test.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE,
		Cookie: "0102030405060708"}}
	in, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeContext(n.t.Context(), m, n.dns)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, o := range in.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			raw, _ := hex.DecodeString(c.Cookie)
			return raw
		}
	}
	return nil
}

func TestGivenCookieSecretsAreReplacedByAReload(t *testing.T) {
	const first, second = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
	s := newSite(t)
	s.put("secret", first)
	s.put("other", second)
	const listen = `dns: {listen: ["127.0.0.1:0"]`
	s.write(s.with(listen, listen+", cookies: {secret_file: secret}"))
	n := s.start()
	made := func(digits string) bool {
		k, err := cookie.ParseKey(secret.New(digits))
		if err != nil {
			t.Fatal(err)
		}
		var out [cookie.Size]byte
		return cookie.NewJar(k).Check(n.cookie(), netip.MustParseAddr("127.0.0.1"), time.Now(),
			&out) == cookie.Valid
	}
	if !made(first) || made(second) {
		t.Error("the cookie is not of the given secret")
	}
	s.write(s.with(listen, listen+", cookies: {secret_file: other, previous_secret_file: secret}"))
	if _, err := n.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !made(second) || made(first) {
		t.Error("the cookie is not of the new secret")
	}
	if log := s.log.String(); strings.Contains(log, first) || strings.Contains(log, second) {
		t.Error("the log shows a secret")
	}
}

func TestCookiesCanBeTurnedOff(t *testing.T) {
	s := newSite(t)
	n := s.start()
	if got := n.cookie(); len(got) != cookie.Size {
		t.Errorf("a cookie of %d octets by default", len(got))
	}
	const listen = `dns: {listen: ["127.0.0.1:0"]`
	s.write(s.with(listen, listen+", cookies: {enabled: false}"))
	if _, err := n.admin.Reload(t.Context()); err == nil {
		t.Error("a change that needs a restart was taken")
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if got := s.start().cookie(); got != nil {
		t.Errorf("cookies are off, and one came: %x", got)
	}
}
