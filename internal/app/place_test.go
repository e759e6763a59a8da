package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/app"
	"pointsman/internal/config"
	"pointsman/steering/geo"
)

// placedConfig gives the site's steered name places: clients in Germany and those of a list get
// two, all others one.
func (s *site) placedConfig(geo string) string {
	return s.with(
		"  - {name: cdns, members: [{backend: one, weight: 70}, {backend: two, weight: 30}]}",
		"  - {name: first, members: [{backend: one}]}\n  - {name: second, members: [{backend: two}]}",
		"  - {name: cdn.example.test, ttl: 5s, pools: [cdns], ramp: 0s}", `
  - name: cdn.example.test
    ttl: 5s
    pools: [first]
    ramp: 0s
    places:
      - {countries: [DE], pools: [second]}
      - {name: office, lists: [office], pools: [second]}
geo:
`+geo+`
  lists:
    - {name: office, prefixes: [203.0.113.0/24]}
`)
}

// from asks for the steered name on behalf of a client subnet and returns the address and the
// scope.
func (n *node) from(t *testing.T, client string) (address string, scope uint8) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("cdn.example.test.", dns.TypeA)
	m.SetEdns0(1232, false)
	subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24}
	subnet.Address = []byte{0, 0, 0, 0}
	a := strings.Split(client, ".")
	for i := range 3 {
		for _, c := range a[i] {
			subnet.Address[i] = subnet.Address[i]*10 + byte(c-'0')
		}
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, subnet)
	in, err := dns.ExchangeContext(t.Context(), m, n.dns)
	if err != nil || len(in.Answer) != 1 || in.IsEdns0() == nil {
		t.Fatalf("%s: %v, %v", client, in, err)
	}
	for _, o := range in.IsEdns0().Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok {
			return in.Answer[0].(*dns.A).A.String(), s.SourceScope
		}
	}
	t.Fatalf("%s: no scope in the answer", client)
	return "", 0
}

func TestClientsAreAnsweredByTheirPlaceWithTheWidestScope(t *testing.T) {
	s := newSite(t)
	s.write(s.placedConfig(""))
	n := s.start()
	for client, want := range map[string]struct {
		address string
		least   uint8
		most    uint8
	}{
		"131.188.3.0": {"192.0.2.2", 8, 24}, // a university in Germany
		"8.8.8.0":     {"192.0.2.1", 1, 24},
		"203.0.113.0": {"192.0.2.2", 24, 24}, // the list, which no country has
		"203.0.112.0": {"192.0.2.1", 8, 24},
	} {
		for range 2 { // by the ordinary path, and by what it taught the fast one
			address, scope := n.from(t, client)
			if address != want.address || scope < want.least || scope > want.most {
				t.Errorf("%s: %s for its /%d, want %s", client, address, scope, want.address)
			}
		}
	}
	x, err := n.admin.Explain(t.Context(), "cdn.example.test", "131.188.3.0/24")
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Steps[1].Detail; x.Backend != "two" || !strings.Contains(got, "is in DE by data of") ||
		!strings.Contains(got, "which place de lists; so is all of 131.") {
		t.Errorf("explained is %s by %q", x.Backend, got)
	}
}

func TestAChangedFileOfCountryDataMovesClientsWithoutAReload(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, "countries.csv")
	data := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.write(s.placedConfig("  country: countries.csv"))
	n := s.start() // the file isn't there yet
	if address, _ := n.from(t, "131.188.3.0"); address != "192.0.2.2" {
		t.Errorf("without its file the node answers %s", address)
	}
	if !strings.Contains(s.log.String(), "the built-in data stands in") {
		t.Error("the log doesn't say that the file is missing")
	}
	if _, err := app.Check(s.options()); !errors.Is(err, app.ErrConfig) ||
		!strings.Contains(err.Error(), "geo.country: opening country data") {
		t.Errorf("checking says %v", err)
	}
	data("8.8.8.0,8.8.8.255,DE\n")
	if _, err := n.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	before, _ := n.from(t, "131.188.3.0")
	after, scope := n.from(t, "8.8.8.0")
	if before != "192.0.2.1" || after != "192.0.2.2" || scope != 24 {
		t.Errorf("with the file they get %s and %s /%d", before, after, scope)
	}
	data("nonsense")
	if _, err := n.Reload(context.Background()); err != nil {
		t.Errorf("a file that broke keeps a config from being taken: %v", err)
	}
	if got, _ := n.from(t, "8.8.8.0"); got != "192.0.2.2" {
		t.Errorf("the file broke, and the client gets %s", got)
	}
	s.write(strings.Replace(s.placedConfig("  country: countries.csv"), "ountries.csv", "onfusion.csv", 1))
	if _, err := n.Reload(context.Background()); err == nil {
		t.Error("a reload with a new name of a file that isn't there was taken")
	}
	s.write(s.config)
	if _, err := n.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, scope := n.from(t, "8.8.8.0"); scope != 0 {
		t.Errorf("without places the scope is %d", scope)
	}
}

// TestConfigKnowsAllCountriesOfTheBuiltInData keeps the two lists of codes together.
func TestConfigKnowsAllCountriesOfTheBuiltInData(t *testing.T) {
	l, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	text := s.placedConfig("")
	var unknown []string
	for _, code := range l.Countries() {
		_, report, err := config.Load(config.Options{Env: s.environ, Name: "x",
			Data: []byte(strings.Replace(text, "countries: [DE]", "countries: ["+code+"]", 1))})
		if err != nil {
			unknown = append(unknown, code+" "+report.Mistakes[0].Message)
		}
	}
	if len(unknown) != 1 || !strings.HasPrefix(unknown[0], "AN ") { // the Antilles, dissolved in 2010
		t.Errorf("unknown codes: %q", unknown)
	}
}

func TestOldCountryDataIsWarnedOfByCheck(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, "countries.csv")
	if err := os.WriteFile(path, []byte("8.8.8.0,8.8.8.255,DE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(s.placedConfig("  country: countries.csv"))
	for days, want := range map[int]bool{0: false, 170: false, 200: true} {
		at := time.Now().AddDate(0, 0, -days)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		found, err := app.Check(s.options())
		if err != nil {
			t.Fatal(err)
		}
		warned := false
		for _, w := range found.Warnings {
			warned = warned || strings.Contains(w.String(), "days old, and networks have moved")
		}
		if warned != want {
			t.Errorf("of data %d days old: %v", days, found.Warnings)
		}
	}
}
