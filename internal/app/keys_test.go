package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/app"
)

// code asks with EDNS, and returns the answer's code and Extended DNS Error; -1: none.
func (n *node) code(name string) (rcode, why int) {
	n.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.SetEdns0(1232, true)
	in, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeContext(n.t.Context(), m, n.dns)
	if err != nil {
		n.t.Fatal(err)
	}
	why = -1
	if o := in.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if e, ok := e.(*dns.EDNS0_EDE); ok {
				why = int(e.InfoCode)
			}
		}
	}
	return in.Rcode, why
}

// signedSite is a site with a signed zone and one that is not, whose keys have been made. It
// returns the file of the private key.
func signedSite(t *testing.T, mode string) (*site, string) {
	t.Helper()
	s := newSite(t)
	s.config = s.with("    ns: [ns1]\n", "    ns: [ns1]\n    dnssec: {key_dir: keys, mode: "+mode+"}\n",
		"zones:\n", "zones:\n  - name: other.test\n    ns: [ns.example.net]\n"+
			"    records: [{name: www, type: A, data: 192.0.2.80}]\n")
	s.write(s.config)
	if err := s.start().stop(); err != nil {
		t.Fatal(err)
	}
	files := privates(t, filepath.Join(s.dir, "keys"))
	if len(files) != 1 {
		t.Fatalf("keys: %v", files)
	}
	return s, files[0]
}

func TestKeysThatOthersMayReadWithholdTheirZoneAlone(t *testing.T) {
	s, file := signedSite(t, "local")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Check(s.options()); err == nil || !strings.Contains(err.Error(), "make it 0600") {
		t.Errorf("the check says %v", err)
	}
	n := s.start()
	for _, name := range []string{"www.example.test.", "cdn.example.test."} {
		if rcode, why := n.code(name); rcode != dns.RcodeServerFailure || why != 14 {
			t.Errorf("%s: code %d, error %d", name, rcode, why)
		}
	}
	if rcode, _ := n.code("www.other.test."); rcode != dns.RcodeSuccess {
		t.Errorf("another zone: code %d", rcode)
	}
	if warnings := strings.Join(n.status().Warnings, "\n"); !strings.Contains(warnings,
		"zone example.test answers SERVFAIL") || !strings.Contains(warnings, file) {
		t.Errorf("the status warns of\n%s", warnings)
	}
	for _, want := range []string{"keys not opened", "zone answers SERVFAIL", file, "make it 0600"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, s.log)
		}
	}
	s.write(s.config + "\n")
	if _, err := n.Reload(t.Context()); err != nil { // the fault is no newer than the config
		t.Errorf("a reload that changes nothing: %v", err)
	}
	n.Reopen()
	if rcode, _ := n.code("www.example.test."); rcode != dns.RcodeServerFailure {
		t.Errorf("keys that others may read are used: code %d", rcode)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	n.Reopen()
	if n.signed("www.example.test.", dns.TypeA) == 0 {
		t.Error("not signed with keys that were mended")
	}
	if warnings := strings.Join(n.status().Warnings, "\n"); strings.Contains(warnings, "SERVFAIL") {
		t.Errorf("then the status warns of\n%s", warnings)
	}
}

func TestASignerWithoutItsKeysServesWhatItHasPublished(t *testing.T) {
	s, file := signedSite(t, "signer")
	n := s.start()
	eventually(t, "a publication", func() bool {
		return strings.Contains(s.log.String(), "zone published")
	})
	tag := n.signed("www.example.test.", dns.TypeA)
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	if got := n.signed("www.example.test.", dns.TypeA); got != tag {
		t.Errorf("signed by %d, not %d", got, tag)
	}
	if warnings := strings.Join(n.status().Warnings, "\n"); !strings.Contains(warnings,
		"the keys of zone example.test can't be used") {
		t.Errorf("the status warns of\n%s", warnings)
	}
}

func TestAReloadThatAddsBadKeysIsRefused(t *testing.T) {
	s, file := signedSite(t, "local")
	signed := s.config
	s.write(strings.Replace(signed, "    dnssec: {key_dir: keys, mode: local}\n", "", 1))
	n := s.start()
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	s.write(signed)
	if _, err := n.Reload(t.Context()); err == nil {
		t.Error("reloaded")
	}
	if got := n.ask("www.example.test."); len(got) != 1 || got[0] != "192.0.2.80" {
		t.Errorf("after a refused reload: %v", got)
	}
}

// A folder in place of the file that a write begins with fails it, as a full disk does.
func TestASignedZoneIsServedWhereItsStateCannotBeWritten(t *testing.T) {
	for _, mode := range []string{"local", "signer"} {
		t.Run(mode, func(t *testing.T) {
			s, file := signedSite(t, mode)
			if err := os.Mkdir(filepath.Join(filepath.Dir(file), "state.json.new"), 0o700); err != nil {
				t.Fatal(err)
			}
			if n := s.start(); n.signed("www.example.test.", dns.TypeA) == 0 {
				t.Error("not signed")
			}
		})
	}
}
