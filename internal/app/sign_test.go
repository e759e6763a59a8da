package app_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/app"
)

// signed asks with DO, checks the answer's signature with the zone's keys, and returns the tag
// of the key that made it; 0 when there is no signature.
func (n *node) signed(name string, qtype uint16) uint16 {
	n.t.Helper()
	exchange := func(name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion(name, qtype)
		m.SetEdns0(1232, true)
		in, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeContext(n.t.Context(), m, n.dns)
		if err != nil || in.Rcode != dns.RcodeSuccess {
			n.t.Fatalf("%s: %v %v", name, err, in)
		}
		return in
	}
	var rrs []dns.RR
	var sig *dns.RRSIG
	for _, rr := range exchange(name, qtype).Answer {
		if s, ok := rr.(*dns.RRSIG); ok {
			sig = s
		} else {
			rrs = append(rrs, rr)
		}
	}
	if sig == nil {
		return 0
	}
	for _, rr := range exchange("example.test.", dns.TypeDNSKEY).Answer {
		if k, ok := rr.(*dns.DNSKEY); ok && k.KeyTag() == sig.KeyTag {
			if err := sig.Verify(k, rrs); err != nil {
				n.t.Errorf("%s: %v", name, err)
			}
			return sig.KeyTag
		}
	}
	n.t.Errorf("%s is signed by a key that isn't there", name)
	return 0
}

// privates lists the files of private keys below a folder.
func privates(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.private"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestASignedZoneStaysSignedOverReloadsAndRestarts(t *testing.T) {
	s := newSite(t)
	s.config = s.with("    ns: [ns1]\n", "    ns: [ns1]\n    dnssec: {}\n")
	s.write(s.config)
	n := s.start()
	tag := n.signed("cdn.example.test.", dns.TypeA)
	if tag == 0 || n.signed("www.example.test.", dns.TypeA) != tag {
		t.Fatal("not signed")
	}
	if !strings.Contains(s.log.String(), "keys opened") || !strings.Contains(s.log.String(), "IN\\tDS\\t") {
		t.Errorf("the log doesn't tell the DS record:\n%s", s.log)
	}
	files := privates(t, filepath.Join(s.state(), "dnssec"))
	if len(files) != 1 {
		t.Fatalf("keys: %v", files)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}

	s.write(s.with("192.0.2.1]", "192.0.2.77]", "192.0.2.80", "192.0.2.81"))
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 { // either backend
		if got := n.signed("cdn.example.test.", dns.TypeA); got != tag {
			t.Errorf("after a reload by key %d, not %d", got, tag)
		}
	}
	if got := n.signed("www.example.test.", dns.TypeA); got != tag {
		t.Errorf("after a reload by key %d, not %d", got, tag)
	}

	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	if got := n.signed("cdn.example.test.", dns.TypeA); got != tag {
		t.Errorf("after a restart by key %d, not %d", got, tag)
	}
	s.write(s.with("    dnssec: {}\n", ""))
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := n.signed("www.example.test.", dns.TypeA); got != 0 {
		t.Errorf("signed by %d, though dnssec is gone", got)
	}
	if !strings.Contains(s.log.String(), "zone no longer signed") {
		t.Error("nobody was told that the zone isn't signed any more")
	}
}

func TestCheckMakesNoKeysAndFindsRecordsOfTheSigner(t *testing.T) {
	s := newSite(t)
	s.write(s.with("    ns: [ns1]\n", "    ns: [ns1]\n    dnssec: {}\n"))
	if _, err := app.Check(s.options()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.state(), "dnssec")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("check made a folder: %v", err)
	}
	s.write(s.with("    ns: [ns1]\n", "    ns: [ns1]\n    dnssec: {}\n",
		"      - {name: www,", "      - {name: '@', type: CDS, data: '0 0 0 00'}\n      - {name: www,"))
	_, err := app.Check(s.options())
	if err == nil || !strings.Contains(err.Error(), "signing adds those") {
		t.Errorf("check: %v", err)
	}
}

func TestASignerGoesOnAfterARestartWithSerialAndSignatures(t *testing.T) {
	s := newSite(t)
	s.config = s.with("    ns: [ns1]\n", "    ns: [ns1]\n    dnssec: {mode: signer}\n")
	s.write(s.config)
	serial := func(n *node) (uint32, string) {
		m := new(dns.Msg)
		m.SetQuestion("example.test.", dns.TypeSOA)
		m.SetEdns0(1232, true)
		in, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).ExchangeContext(t.Context(), m, n.dns)
		if err != nil || len(in.Answer) != 2 {
			t.Fatalf("%v %v", in, err)
		}
		return in.Answer[0].(*dns.SOA).Serial, in.Answer[1].(*dns.RRSIG).Signature
	}
	n := s.start()
	first, sig := serial(n)
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.log.String(), "zone published") {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was published:\n%s", s.log)
		}
		n.ask("www.example.test.")
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	if again, same := serial(n); again != first || same != sig {
		t.Errorf("serial %d became %d, and signed anew: %t", first, again, same != sig)
	}
	s.write(s.with("192.0.2.80", "192.0.2.81"))
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, _ := serial(n); int32(after-first) <= 0 {
		t.Errorf("a change of the zone took the serial from %d to %d", first, after)
	}
}
