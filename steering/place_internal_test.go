package steering

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"pointsman/steering/geo"
)

// manySpec has n hosts with equal places, each in its own order of countries.
func manySpec(n int) *Spec {
	s := &Spec{
		Backends: []Backend{{Name: "a", CNAME: "a.test."}},
		Pools:    []Pool{{Name: "p", Members: []Member{{Backend: "a", Weight: 1}}}},
	}
	for i := range n {
		codes := []string{"DE", "AT"}
		if i%2 == 1 {
			codes = []string{"AT", "DE"}
		}
		s.Hosts = append(s.Hosts, Host{Name: fmt.Sprintf("h%d.test.", i), TTL: time.Second,
			Pools: []string{"p"}, Places: []Place{{Name: fmt.Sprint("place", i), Countries: codes,
				Prefixes: []netip.Prefix{netip.MustParsePrefix("20.0.0.0/8")}, Pools: []string{"p"}}}})
	}
	return s
}

func TestHostsWithEqualPlacesShareOneSetOfClasses(t *testing.T) {
	l, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	in := Inputs{Version: 1, Spec: manySpec(50), Countries: l}
	first, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	shared := first.plans["h0.test."].classes
	in.Prior = first
	second, err := Compile(in) // of the same spec
	if err != nil {
		t.Fatal(err)
	}
	in.Prior, in.Spec = second, manySpec(60)
	third, err := Compile(in) // of another spec with the same places
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range map[string]*Table{"first": first, "second": second, "third": third} {
		for host, p := range table.plans {
			if p.classes != shared {
				t.Errorf("%s: %s has classes of its own", name, host)
			}
		}
		if table.compiler.in.Prior != nil || table.compiler.classes.prior != nil {
			t.Errorf("%s: the table keeps the one before it", name)
		}
	}
	in.Prior, in.Countries = third, nil
	other, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if other.plans["h0.test."].classes == shared {
		t.Error("classes were taken over although the country data is another")
	}
	v4, v6 := shared.Ranges()
	t.Logf("%d and %d ranges, some %d kB for all hosts; a plan takes %d bytes and its candidates",
		v4, v6, (v4*(4+1)+v6*(8+1)+(v4+v6)*8)/1000, unsafe.Sizeof(plan{}))
}
