package app

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/config"
	"pointsman/steering/dnsserver"
	"pointsman/steering/transfer"
)

func TestSteeredNamesShadowWhatSteeringStandsForAlone(t *testing.T) {
	const zone = "z.test.\t60\tIN\tSOA\tns.z.test. h.z.test. 1 60 60 600 60\n" +
		"z.test.\t60\tIN\tNS\tns.z.test.\nz.test.\t60\tIN\tA\t192.0.2.1\n"
	const keptHere = "a.z.test.\t60\tIN\tTXT\t\"x\"\nb.a.z.test.\t60\tIN\tA\t192.0.2.2\n"
	names := []dnsserver.SteeredName{{Host: "z.test.", Addresses: true},
		{Host: "a.z.test.", Addresses: true}, {Host: "c.z.test.", Targets: []string{"x.invalid."}},
		{Host: "none.z.test.", Addresses: true}}
	got, shadowed := shadow([]byte(zone+keptHere+
		"a.z.test.\t60\tIN\tA\t192.0.2.3\na.z.test.\t60\tIN\tNS\tns.other.test.\n"+
		"c.z.test.\t60\tIN\tTXT\t\"gone\"\nc.z.test.\t60\tIN\tCNAME\tq.z.test.\n"), names)
	want := strings.Replace(zone, "z.test.\t60\tIN\tA\t192.0.2.1\n", "", 1) + keptHere
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"a.z.test.", "c.z.test.", "z.test."}, shadowed); d != "" {
		t.Errorf("shadowed (-want +got):\n%s", d)
	}
}

func TestASignedZoneOfAPrimaryNeedsDNSSECHere(t *testing.T) {
	got := &transfer.Copy{Zone: "z.test.", Serial: 1, Signed: true, Data: []byte(
		"z.test.\t60\tIN\tSOA\tns.other.test. h.z.test. 1 60 60 600 60\n" +
			"z.test.\t60\tIN\tNS\tns.other.test.\n")}
	_, _, err := zoneOfCopy(&config.Config{}, config.Zone{Name: "z.test"}, got)
	if err == nil || !strings.Contains(err.Error(), "the primary's zone is signed") {
		t.Errorf("without dnssec: %v", err)
	}
	z, _, err := zoneOfCopy(&config.Config{}, config.Zone{Name: "z.test", DNSSEC: &config.DNSSEC{}}, got)
	if err != nil || z.Serial() != 1 {
		t.Errorf("with dnssec: %v", err)
	}
}
