package dnssec_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pointsman/steering/dnssec"
)

func rr(t testing.TB, s string) dns.RR {
	t.Helper()
	out, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// zone is a zone with static names, a delegation, and a steered name of two variants.
func zone(t testing.TB) *dnssec.Zone {
	t.Helper()
	soa := rr(t, "example.test. 3600 IN SOA ns.example.net. h.example.test. 1 3600 600 604800 30")
	one := func(s string) [][]dns.RR { return [][]dns.RR{{rr(t, s)}} }
	return &dnssec.Zone{Apex: "example.test.", SOA: soa.(*dns.SOA), Names: []dnssec.Name{
		{Owner: "example.test.", Sets: [][]dns.RR{{soa}, {rr(t, "example.test. 3600 IN NS ns.example.net.")}}},
		{Owner: "www.example.test.", Sets: one("www.example.test. 3600 IN A 192.0.2.1")},
		{Owner: "sub.example.test.", Cut: true, Sets: one("sub.example.test. 3600 IN NS ns.example.net.")},
		{Owner: "cdn.example.test.", Variants: []dnssec.Variant{
			{Name: "a", Sets: one("cdn.example.test. 20 IN CNAME a.example.net.")},
			{Name: "b", Sets: one("cdn.example.test. 20 IN A 192.0.2.2")},
		}},
	}}
}

// clock is a time that a test sets.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func newSigner(t testing.TB, c *clock, change func(*dnssec.Config)) *dnssec.Signer {
	t.Helper()
	cfg := dnssec.Config{Zone: "example.test.", Folder: t.TempDir(), Now: c.time}
	if change != nil {
		change(&cfg)
	}
	s, err := dnssec.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, s *dnssec.Signer, z *dnssec.Zone) *dnssec.Signed {
	t.Helper()
	out, err := s.Sign(context.Background(), z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatDidNotChangeIsNotSignedAgain(t *testing.T) {
	c := &clock{day0}
	m, err := dnssec.NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	if m, err = dnssec.NewMetrics(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := dnssec.NewMetrics(reg); err == nil {
		t.Error("the same metrics were registered twice")
	}
	s := newSigner(t, c, func(cfg *dnssec.Config) { cfg.Metrics = m })
	made := func() int {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "pointsman_dnssec_signatures_total" {
				return int(f.Metric[0].Counter.GetValue())
			}
		}
		return 0
	}
	z := zone(t)
	first := sign(t, s, z)
	// SOA, NS, DNSKEY, CDS, CDNSKEY, www, two variants; links: apex, www, sub, cdn and its two.
	if n := made(); n != 8+6 {
		t.Errorf("%d signatures at first", n)
	}
	again := sign(t, s, z)
	if n := made(); n != 14 || again.Expires() != first.Expires() {
		t.Errorf("%d signatures after a second round", n)
	}
	z.Names[1].Sets[0][0] = rr(t, "www.example.test. 3600 IN A 192.0.2.99")
	sign(t, s, z)
	if n := made(); n != 15 {
		t.Errorf("%d signatures after one change", n)
	}
	if n := testutil.CollectAndCount(reg, "pointsman_dnssec_signatures_expire_timestamp_seconds"); n != 1 {
		t.Errorf("%d series", n)
	}
	s.Forget()
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
		t.Errorf("%d series are left, %v", n, err)
	}
}

func TestSignaturesAreReplacedLongBeforeTheirEndAndNotAllAtOnce(t *testing.T) {
	c := &clock{day0}
	s := newSigner(t, c, nil)
	z := zone(t)
	for i := range 300 {
		name := fmt.Sprintf("h%d.example.test.", i)
		z.Names = append(z.Names, dnssec.Name{Owner: name, Sets: [][]dns.RR{{rr(t, name+" 300 IN A 192.0.2.1")}}})
	}
	signed := sign(t, s, z)
	ends := map[uint32]bool{}
	for i := range 300 {
		sig := signed.Signatures(fmt.Sprintf("h%d.example.test.", i), "", dns.TypeA)[0].(*dns.RRSIG)
		ends[sig.Expiration] = true
		left := time.Unix(int64(sig.Expiration), 0).Sub(day0)
		if left > 14*day || left < 13*day {
			t.Errorf("it ends in %v", left)
		}
		if start := time.Unix(int64(sig.Inception), 0); !start.Equal(day0.Add(-time.Hour)) {
			t.Errorf("it starts at %v", start)
		}
	}
	if len(ends) < 290 {
		t.Errorf("%d different ends", len(ends))
	}
	rounds := 0
	for end := day0.Add(60 * day); c.now.Before(end); c.now = c.now.Add(time.Minute) {
		if c.now.Before(signed.Refresh()) {
			continue
		}
		rounds++
		signed = sign(t, s, z)
		if left := signed.Expires().Sub(c.now); left < 5*day {
			t.Fatalf("after a round a signature ends in %v", left)
		}
	}
	if rounds < 10 || rounds > 60*24 {
		t.Errorf("%d rounds in 60 days", rounds)
	}
}

func TestKeysAreKeptInPrivateFilesAndFoundAgain(t *testing.T) {
	c := &clock{day0}
	dir := t.TempDir()
	in := func(cfg *dnssec.Config) { cfg.Folder, cfg.Policy.Split = dir, true }
	s := newSigner(t, c, in)
	ds, err := s.DS()
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "example.test", "*"))
	var modes []string
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		modes = append(modes, fmt.Sprintf("%s %o", filepath.Ext(f), info.Mode().Perm()))
	}
	slices.Sort(modes)
	if d := cmp.Diff([]string{".json 600", ".key 644", ".key 644", ".private 600", ".private 600"}, modes); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	c.now = c.now.Add(day)
	again := newSigner(t, c, in)
	if d := cmp.Diff(s.State(), again.State()); d != "" {
		t.Errorf("state (-made +found):\n%s", d)
	}
	if got, err := again.DS(); err != nil || got.String() != ds.String() {
		t.Errorf("%v, %v, not %v", got, err, ds)
	}
	// Without their state the keys are taken as those of another server.
	if err := os.Remove(filepath.Join(dir, "example.test", "state.json")); err != nil {
		t.Fatal(err)
	}
	adopted := newSigner(t, c, in).State()
	for i, k := range adopted.Keys {
		if k.Phase != dnssec.Active || !k.Since.Equal(c.now) {
			t.Errorf("key %d: %v", i, k)
		}
	}
	if len(adopted.Keys) != 2 {
		t.Errorf("adopted: %v", adopted)
	}
}

func TestFilesThatAreNotRightAreRefused(t *testing.T) {
	replace := func(pattern, old, new string) func(string) error {
		return func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) == 0 {
				return fmt.Errorf("no %s: %w", pattern, err)
			}
			raw, err := os.ReadFile(files[0])
			if err != nil {
				return err
			}
			if !strings.Contains(string(raw), old) {
				return fmt.Errorf("no %q in %s", old, raw)
			}
			return os.WriteFile(files[0], []byte(strings.Replace(string(raw), old, new, 1)), 0o600)
		}
	}
	one := func(pattern string) func(dir string) (string, error) {
		return func(dir string) (string, error) {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) == 0 {
				return "", fmt.Errorf("no %s: %w", pattern, err)
			}
			return files[0], nil
		}
	}
	for _, c := range []struct {
		about, want string
		spoil       func(dir string) error
		policy      dnssec.Policy
	}{
		{"a key for others", "make it 0600", func(dir string) error {
			f, err := one("*.private")(dir)
			if err != nil {
				return err
			}
			return os.Chmod(f, 0o644)
		}, dnssec.Policy{}},
		{"no public half", "no such file", func(dir string) error {
			f, err := one("*.key")(dir)
			if err != nil {
				return err
			}
			return os.Remove(f)
		}, dnssec.Policy{}},
		{"a lost key", "is missing", func(dir string) error {
			f, err := one("*.private")(dir)
			if err != nil {
				return err
			}
			return os.Remove(f)
		}, dnssec.Policy{}},
		{"another zone", "no DNSKEY of example.test.", replace("*.key", "example.test.", "example.net."),
			dnssec.Policy{}},
		{"another record", "is no record", replace("*.key", "DNSKEY", "DNSKY"), dnssec.Policy{}},
		{"halves that differ", "don't belong together", func(dir string) error {
			f, err := one("*.private")(dir)
			if err != nil {
				return err
			}
			other := t.TempDir()
			newSigner(t, &clock{day0}, func(cfg *dnssec.Config) { cfg.Folder = other })
			o, err := one("*.private")(filepath.Join(other, "example.test"))
			if err != nil {
				return err
			}
			return os.Rename(o, f)
		}, dnssec.Policy{}},
		{"a broken private half", "can't be understood", replace("*.private", "Private-key-format",
			"Private-key"), dnssec.Policy{}},
		{"a broken state and a lost key", "no private half", func(dir string) error {
			f, err := one("*.private")(dir)
			if err != nil {
				return err
			}
			return errors.Join(os.Remove(f), os.Truncate(filepath.Join(dir, "state.json"), 0))
		}, dnssec.Policy{}},
		{"no state and a lost key", "no private half", func(dir string) error {
			f, err := one("*.private")(dir)
			if err != nil {
				return err
			}
			return errors.Join(os.Remove(f), os.Remove(filepath.Join(dir, "state.json")))
		}, dnssec.Policy{}},
		{"another algorithm", "change of algorithm", nil, dnssec.Policy{Algorithm: dnssec.Ed25519}},
		{"other roles", "change of keys' roles", nil, dnssec.Policy{Split: true}},
		{"an unknown algorithm", "not known", nil, dnssec.Policy{Algorithm: "rsa"}},
		{"a validity of nothing", "validity", nil, dnssec.Policy{Validity: time.Second}},
		{"a refresh that is too early", "refresh", nil, dnssec.Policy{Refresh: 8 * day}},
		{"a negative time", "negative", nil, dnssec.Policy{ParentTTL: -1}},
		{"a lifetime without a parent", "DS records", nil, dnssec.Policy{KeyLifetime: day}},
	} {
		t.Run(c.about, func(t *testing.T) {
			dir := t.TempDir()
			newSigner(t, &clock{day0}, func(cfg *dnssec.Config) { cfg.Folder = dir })
			if c.spoil != nil {
				if err := c.spoil(filepath.Join(dir, "example.test")); err != nil {
					t.Fatal(err)
				}
			}
			_, err := dnssec.New(dnssec.Config{Zone: "example.test.", Folder: dir, Policy: c.policy})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestTheParentIsAskedForWhatItNames(t *testing.T) {
	ds := rr(t, "example.test. 3600 IN DS 7 13 2 "+strings.Repeat("ab", 32))
	other := rr(t, "example.test. 3600 IN DS 8 13 2 "+strings.Repeat("cd", 32))
	serve := func(rcode int, rrs ...dns.RR) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			a := new(dns.Msg)
			a.SetRcode(m, rcode)
			a.Answer = rrs
			_ = w.WriteMsg(a)
		})}
		done := make(chan error, 1)
		go func() { done <- srv.ActivateAndServe() }()
		t.Cleanup(func() {
			l.Close()
			<-done
		})
		return l.Addr().String()
	}
	all, some, none := serve(0, ds, other), serve(0, other), serve(0)
	for _, c := range []struct {
		servers []string
		want    int
		fails   bool
	}{
		{[]string{all}, 2, false},
		{[]string{all, some}, 1, false}, // what not every server has doesn't count
		{[]string{some, all, none}, 0, false},
		{[]string{all, serve(dns.RcodeServerFailure)}, 0, true},
		{[]string{"127.0.0.1:1"}, 0, true},
	} {
		got, err := dnssec.Ask(c.servers)(context.Background(), "example.test.")
		if len(got) != c.want || (err != nil) != c.fails {
			t.Errorf("%v: %v, %v", c.servers, got, err)
		}
	}
}
