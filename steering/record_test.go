package steering_test

import (
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/control"
	"pointsman/steering/geo"
)

// everything are inputs in which all that can be said is said.
func everything(t testing.TB) steering.Inputs {
	v := view(9, "b")
	h := v.Backends["a"]
	h.UsableSince, h.Latency, h.CertExpires = start.Add(-time.Minute), 1234567, start.Add(time.Hour)
	h.Votes = []health.Vote{{Vantage: "here", State: health.Degraded, At: start, Reason: "slow"}}
	v.Backends["a"] = h
	pin := override(steering.Pin, "c")
	pin.Host, pin.Local, pin.Unsaved = "other.test.", true, true
	weight := override(steering.Weight, "a")
	weight.Weight = 12
	guidance := splitOf(control.Split{"a": 0.25, "c": 0.75})
	guidance.Traffic = map[control.Scope][]control.Assigned{everybody: {{
		Prefix: netip.MustParsePrefix("192.0.2.53/32"), Cycle: []string{"c", "a"}, TTL: time.Second}}}
	guidance.Limits = map[string]float64{"a": 0.5}
	return steering.Inputs{Version: 7, Now: start, View: v, Countries: atlas(t), Guidance: guidance,
		Latencies: map[string]time.Duration{"c": 41 * time.Millisecond, "edge": 7},
		Addresses: steering.Addresses{"a.cdn.test.": {V4: []netip.Addr{
			netip.MustParseAddr("192.0.2.5")}, TTL: time.Minute, At: start}},
		Shares: control.Shares{Epoch: 3, Factors: map[string]float64{"a": 1.0 / 3, "c": 0.1},
			Limits: map[string]float64{"a": 0.5}, Splits: guidance.Splits, Faded: 3.0 / 11},
		Spec: spec(func(s *steering.Spec) {
			s.Backends[3].HTTPS = &steering.HTTPS{Priority: 1, ALPN: []string{"h3", "h2"}, Port: 444,
				Hints: true}
			s.Backends[1].Up, s.Backends[1].Drain = steering.UpAlways, true
			s.Backends[2].Capacity, s.Backends[2].Cost = 500, 20_000
			s.Backends[2].Deny = &steering.Audience{Countries: []string{"AT"}}
			s.Pools = append(s.Pools, steering.Pool{Name: "fast", Choose: steering.ByLatency,
				Within:  steering.Tolerance{Percent: 10, Span: time.Millisecond},
				Members: []steering.Member{{Pool: "edge", Weight: 1}, {Backend: "c", Weight: 3}}})
			s.Hosts[0].Load, s.Hosts[0].Pools = 900, []string{"fast", "cdns"}
			s.Hosts[0].Flatten = true
			s.Hosts[0].Places = []steering.Place{{Name: "there", Countries: []string{"DE"},
				Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
				Pools:    []string{"edge"}}}
			s.Hosts = append(s.Hosts, steering.Host{Name: "other.test.", TTL: time.Minute,
				Pools: []string{"cdns"}, Stickiness: steering.Sticky})
		}),
		Overrides: []steering.Override{override(steering.Drain, "b"), weight, pin},
		Fed: []steering.FedValue{fedValue("c", steering.FieldWeight, 50),
			fedValue("c", steering.FieldCapacity, 400)},
	}
}

// sameInputs compares inputs but for their country data, which has a digest for that.
var sameInputs = cmp.Options{cmpopts.IgnoreFields(steering.Inputs{}, "Countries"),
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

func TestRecordedInputsComeBackAsTheyWere(t *testing.T) {
	in := everything(t)
	table := compile(t, in)
	if d := cmp.Diff(in, table.Inputs(), sameInputs); d != "" {
		t.Fatalf("inputs of a table (-want +got):\n%s", d)
	}
	raw, err := steering.EncodeInputs(table.Inputs(), steering.Countries(in.Countries))
	if err != nil {
		t.Fatal(err)
	}
	back, err := steering.DecodeInputs(raw, in.Countries)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, back, sameInputs); d != "" {
		t.Errorf("inputs (-want +got):\n%s", d)
	}
	if again := compile(t, back); again.Hash != table.Hash {
		t.Errorf("they compile to %s, not %s", again.Hash, table.Hash)
	}
}

func TestEveryInputOfATableIsRecorded(t *testing.T) {
	in := reflect.ValueOf(everything(t))
	for i := range in.NumField() {
		if name := in.Type().Field(i).Name; in.Field(i).IsZero() && name != "Prior" {
			t.Errorf("%s is not among the inputs that are recorded and read back in these tests", name)
		}
	}
}

func TestRecordedInputsWantTheirCountryData(t *testing.T) {
	in := everything(t)
	raw, err := steering.EncodeInputs(in, steering.Countries(in.Countries))
	if err != nil {
		t.Fatal(err)
	}
	other, err := geo.Read([]byte("20.9.0.0,20.9.255.255,FR"), "elsewhere", start)
	if err != nil {
		t.Fatal(err)
	}
	for about, data := range map[string]*geo.Locator{"none": nil, "others": other} {
		back, err := steering.DecodeInputs(raw, data)
		if !errors.Is(err, steering.ErrCountries) ||
			!strings.Contains(err.Error(), steering.Countries(in.Countries).Digest) {
			t.Errorf("with %s: %v", about, err)
		}
		if back.Spec == nil {
			t.Errorf("with %s there are no inputs", about)
		}
	}
	in.Countries = nil
	if raw, err = steering.EncodeInputs(in, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := steering.DecodeInputs(raw, nil); err != nil {
		t.Error(err)
	}
	if _, err := steering.DecodeInputs(raw, atlas(t)); !errors.Is(err, steering.ErrCountries) {
		t.Errorf("with data where there was none: %v", err)
	}
}

func TestRecordedInputsAreReadStrictly(t *testing.T) {
	raw, err := steering.EncodeInputs(steering.Inputs{Version: 1, Now: start, Spec: spec()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for about, bad := range map[string]string{
		"another format": strings.Replace(text, `"format":3`, `"format":2`, 1),
		"unknown key":    strings.Replace(text, `"format":3`, `"format":3,"fromat":1`, 1),
		"no spec":        `{"format":3}`,
		"cut":            text[:len(text)/2],
		"two":            text + text,
		"empty":          "",
	} {
		if _, err := steering.DecodeInputs([]byte(bad), nil); err == nil {
			t.Errorf("%s: taken", about)
		}
	}
	odd := steering.Inputs{Spec: spec(), Shares: control.Shares{
		Factors: map[string]float64{"a": math.NaN()}}}
	if _, err := steering.EncodeInputs(odd, nil); err == nil {
		t.Error("a factor that is not a number was encoded")
	}
}
