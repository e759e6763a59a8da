package app_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
)

// put writes a file of the site.
func (s *site) put(name, data string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// withFile is the site's config with a zone file.
func (s *site) withFile(pairs ...string) string {
	return s.with(append([]string{"    ttl: 1m\n", "    ttl: 1m\n    file: example.zone\n"},
		pairs...)...)
}

func TestAZoneFileIsReadAgainOnReloadOrNotAtAll(t *testing.T) {
	s := newSite(t)
	s.put("example.zone", "plain A 192.0.2.90\n$INCLUDE more/mail\n")
	s.put("more/mail", "mail A 192.0.2.91\n")
	s.write(s.withFile())
	n := s.start()
	asked := func() [][]string {
		return [][]string{n.ask("plain.example.test."), n.ask("mail.example.test."),
			n.ask("www.example.test.")}
	}
	want := [][]string{{"192.0.2.90"}, {"192.0.2.91"}, {"192.0.2.80"}}
	if d := cmp.Diff(want, asked()); d != "" {
		t.Errorf("answers (-want +got):\n%s", d)
	}
	before := n.status().ConfigHash

	s.put("more/mail", "mail A 192.0.2.92\nmail A x\n")
	_, err := n.Reload(t.Context())
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Findings) != 1 ||
		p.Findings[0] != filepath.Join(s.dir, "more/mail")+
			`:2: not valid for type A: bad A A: "x"` {
		t.Errorf("a mistake in an included file: %v, %+v", err, p)
	}
	if d := cmp.Diff(want, asked()); d != "" {
		t.Errorf("answers after a bad reload (-want +got):\n%s", d)
	}

	s.put("more/mail", "mail A 192.0.2.92\n")
	got, err := n.Reload(t.Context())
	if err != nil || !got.Changed || got.ConfigHash == before {
		t.Errorf("the included file changed: %+v, %v", got, err)
	}
	if again, err := n.Reload(t.Context()); err != nil || again.Changed {
		t.Errorf("nothing changed: %+v, %v", again, err)
	}
	want[1] = []string{"192.0.2.92"}
	if d := cmp.Diff(want, asked()); d != "" {
		t.Errorf("answers after a reload (-want +got):\n%s", d)
	}

	s.put("example.zone", "plain A 192.0.2.93\n") // noticed: it is in the config's folder
	eventually(t, "a reload by the zone file", func() bool {
		return n.ask("plain.example.test.")[0] == "192.0.2.93"
	})
	if gone := n.ask("mail.example.test."); gone[0] != "NXDOMAIN" {
		t.Errorf("a record that was taken out is answered: %v", gone)
	}
}

func TestAReloadWarnsOfASerialThatDoesNotRise(t *testing.T) {
	const soa = "@ SOA ns1 hostmaster 7 1h 10m 1w 30\n@ NS ns1\nns1 A 192.0.2.53\n"
	s := newSite(t)
	s.put("example.zone", soa)
	s.write(s.withFile("    ns: [ns1]\n", "    transfer: {to: [192.0.2.7/32]}\n",
		"      - {name: ns1, type: A, data: 192.0.2.53}\n", ""))
	n := s.start()
	s.put("example.zone", soa+"plain A 192.0.2.90\n")
	const want = "the content changed and the serial stayed 7: secondaries will not notice"
	got, err := n.Reload(t.Context())
	if err != nil || !strings.Contains(strings.Join(got.Warnings, "\n"), want) {
		t.Errorf("the reload: %+v, %v", got, err)
	}
	if st := n.status(); !strings.Contains(strings.Join(st.Warnings, "\n"), want) {
		t.Errorf("the status warns of %v", st.Warnings)
	}
	if !strings.Contains(s.log.String(), "serial of a zone not raised") {
		t.Error("the log is silent")
	}
}

func TestCheckWarnsOfADelegationThatLeadsNowhere(t *testing.T) {
	s := newSite(t)
	s.put("example.zone", "sub NS ns.sub\n")
	s.write(s.withFile())
	got, err := app.Check(s.options())
	if err != nil || !strings.Contains(fmt.Sprint(got.Warnings),
		"zones[0]: sub.example.test. is delegated to ns.sub.example.test.") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestCheckTellsOfZoneFilesByLine(t *testing.T) {
	const own = "@ SOA ns1 hostmaster 7 1h 10m 1w 30\n@ NS ns1\nns1 A 192.0.2.53\n"
	inline := []string{"    ns: [ns1]\n", "",
		"      - {name: ns1, type: A, data: 192.0.2.53}\n", ""}
	for _, c := range []struct {
		about, file string
		pairs       []string
		want        []string // each a suffix of a finding; DIR is the site's folder
	}{
		{"all in the file", own, inline, nil},
		{"all beside the file", "plain A 192.0.2.90\n", nil, nil},
		{"nothing anywhere", "", inline,
			[]string{"DIR/node.yaml:7:5: zones[0].ns: the zone has no name servers: name at least " +
				"one, better two"}},
		{"name servers in both", own, inline[2:],
			[]string{"DIR/node.yaml:10:5: zones[0].ns: the zone's NS records stand in the zone " +
				"file already, DIR/example.zone:2: take one of the two away"}},
		{"a SOA in both", own, append([]string{"    ttl: 1m\n",
			"    ttl: 1m\n    soa: {mbox: a.example.test}\n"}, inline...),
			[]string{"DIR/example.zone:1: the config has the zone's SOA: take one of the two away"}},
		{"a steered name", own + "cdn A 192.0.2.1\n", inline,
			[]string{"hosts[0]: cdn.example.test. also has a static A record, which would never " +
				"be served"}},
		{"a mistake", own + "x A 192.0.2.300\n", inline,
			[]string{"DIR/example.zone:4: not valid for type A: bad A A: \"192.0.2.300\""}},
		{"a way out of the folder", own + "$INCLUDE out\n", inline,
			[]string{"DIR/example.zone:4: including \"out\": path escapes from parent"}},
		{"the same record in both", own + "www A 192.0.2.80\n", inline,
			[]string{"DIR/node.yaml:11:9: zones[0].records[0]: the same record is already " +
				"DIR/example.zone:4"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := newSite(t)
			if err := os.Symlink("/etc/hostname", filepath.Join(s.dir, "out")); err != nil {
				t.Fatal(err)
			}
			s.put("example.zone", c.file)
			s.write(s.withFile(c.pairs...))
			_, err := app.Check(s.options())
			if (err == nil) != (c.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.want {
				want = strings.ReplaceAll(want, "DIR", s.dir)
				if !strings.HasSuffix(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestAZoneFileThatCannotBeReadIsAMistakeInTheConfig(t *testing.T) {
	s := newSite(t)
	for want, name := range map[string]string{
		"zones[0].file: cannot be read: no such file or directory": "nowhere.zone",
		"zones[0].file: cannot be read: it is no regular file":     ".",
	} {
		s.write(s.with("    ttl: 1m\n", "    ttl: 1m\n    file: "+name+"\n"))
		_, err := app.Check(s.options())
		if err == nil || !strings.Contains(err.Error(), "node.yaml:9:11: "+want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
