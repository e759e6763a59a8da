package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
)

// withPlaces is a configuration with these places, and a list of prefixes called office.
func withPlaces(places string) string {
	return `
zones:
  - {name: example.test, ns: [ns1.example.test, ns2.example.test]}
backends:
  - {name: edge, addresses: [192.0.2.44], probe: {kind: tcp, address: "192.0.2.44:80"}}
  - {name: origin, addresses: [192.0.2.80], probe: {kind: tcp, address: "192.0.2.80:80"}}
  - {name: self, cname: cdn.example.test, probe: {kind: tcp, address: "192.0.2.80:80"}}
pools:
  - {name: edge, members: [{backend: edge}]}
  - {name: origin, members: [{backend: origin}]}
  - {name: self, members: [{backend: self}]}
geo:
  country: countries.csv
  lists:
    - {name: office, prefixes: [203.0.113.0/24, "2001:DB8::/32"]}
hosts:
  - name: cdn.example.test
    pools: [edge]
    places:
` + places
}

// place loads a configuration of places and returns the findings as lines.
func placesOf(t *testing.T, text string) (*config.Config, []string) {
	t.Helper()
	cfg, report, _ := config.Load(config.Options{Data: []byte(withPlaces(text)), Name: "x"})
	var lines []string
	for _, f := range append(report.Mistakes, report.Warnings...) {
		lines = append(lines, f.Path+": "+f.Message)
	}
	return cfg, lines
}

func TestPlacesAreReadAndNamed(t *testing.T) {
	cfg, _ := placesOf(t, `
      - {countries: [no, DE, at], pools: [origin, edge]}
      - {prefixes: [198.51.100.0/24], pools: [edge]}
      - {name: office, lists: [office], countries: [US], pools: [origin]}
`)
	if cfg == nil {
		t.Fatal("refused")
	}
	want := []config.Place{
		{Name: "at-de-no", Countries: []string{"NO", "DE", "AT"}, Pools: []string{"origin", "edge"}},
		{Name: "place-2", Prefixes: []string{"198.51.100.0/24"}, Pools: []string{"edge"}},
		{Name: "office", Lists: []string{"office"}, Countries: []string{"US"}, Pools: []string{"origin"}},
	}
	if d := cmp.Diff(want, cfg.Hosts[0].Places); d != "" {
		t.Error(d)
	}
	geo := config.Geo{Country: "countries.csv", Lists: []config.PrefixList{
		{Name: "office", Prefixes: []string{"203.0.113.0/24", "2001:db8::/32"}}}}
	if d := cmp.Diff(geo, cfg.Geo); d != "" {
		t.Error(d)
	}
}

func TestANarrowPrefixBeforeAWideOneIsAnException(t *testing.T) {
	cfg, lines := placesOf(t, `
      - {prefixes: [203.0.0.0/24, 198.51.100.0/25], pools: [edge]}
      - {prefixes: [203.0.0.0/16, 198.51.0.0/16], pools: [origin]}
`)
	if cfg == nil {
		t.Errorf("refused: %v", lines)
	}
}

func TestThePoolsOfPlacesAreCheckedAsThoseOfTheirHost(t *testing.T) {
	for about, c := range map[string]struct{ places, want string }{
		"a loop": {`
      - {countries: [DE], pools: [self]}`, "a CNAME loop: cdn.example.test points at itself"},
		"an unused list": {`
      - {countries: [DE], pools: [origin, self]}`, `geo.lists[0]: "office" is used by no place`},
		"an unused pool": {`
      - {lists: [office], pools: [edge]}`, `pools[1]: "origin" is used by no host`},
	} {
		_, lines := placesOf(t, c.places)
		if !strings.Contains(strings.Join(lines, "\n"), c.want) {
			t.Errorf("%s: %v, want %q", about, lines, c.want)
		}
	}
	_, lines := placesOf(t, `
      - {lists: [office], pools: [origin]}`)
	if all := strings.Join(lines, "\n"); strings.Contains(all, `"origin" is used`) ||
		strings.Contains(all, `"office" is used`) {
		t.Errorf("what a place uses counts as unused: %v", lines)
	}
}

func TestAPlaceWithoutALastResortIsWarnedOf(t *testing.T) {
	text := strings.Replace(example(t), "[JP, KR], pools: [edge, origin]",
		"[JP, KR], pools: [cdns]", 1)
	_, report, err := config.Load(config.Options{Data: []byte(text), Name: "x",
		Env: []string{"CLOUDFLARE_TOKEN=a"}})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, w := range report.Warnings {
		paths = append(paths, w.Path)
	}
	if d := cmp.Diff([]string{"hosts[0].places[1].pools"}, paths); d != "" {
		t.Errorf("warnings (-want +got): %s", d)
	}
}

func TestEveryKnownCountryCodeIsAcceptedAndNamesItself(t *testing.T) {
	for _, code := range []string{"DE", "us", "Gb", "XK", "AX", "ZW", "AD"} {
		cfg, lines := placesOf(t, "\n      - {countries: ["+code+"], lists: [office], pools: [origin]}\n")
		if cfg == nil || cfg.Hosts[0].Places[0].Countries[0] != strings.ToUpper(code) {
			t.Errorf("%s: %v", code, lines)
		}
	}
}
