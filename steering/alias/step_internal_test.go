package alias

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func found(ttl time.Duration, texts ...string) outcome {
	return outcome{result: resultAnswered, addrs: addrs(texts...), ttl: ttl}
}

var (
	none   = outcome{result: resultEmpty}
	noName = outcome{result: resultNoName}
	broken = outcome{result: resultFailed, err: errors.New("no answer in time")}
)

// good is a record that both families of were answered a minute before noon.
func good() record {
	r, _ := step(record{}, found(time.Minute, "192.0.2.1"), found(30*time.Second, "2001:db8::1"),
		noon.Add(-time.Minute), 0)
	return r
}

func TestALookUpReplacesWhatIsBetterAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		before record
		v4, v6 outcome
		want   []string
		result string
	}{
		"nothing known, both answered": {record{}, found(20e9, "192.0.2.7"), found(20e9, "2001:db8::7"),
			[]string{"192.0.2.7", "2001:db8::7"}, resultAnswered},
		"nothing known, nothing heard": {record{}, broken, broken, []string{}, resultFailed},
		"nothing known, no such name":  {record{}, noName, noName, []string{}, resultNoName},
		"others":                       {good(), found(20e9, "192.0.2.7"), found(20e9, "2001:db8::7"), []string{"192.0.2.7", "2001:db8::7"}, resultAnswered},
		"a family is gone":             {good(), found(20e9, "192.0.2.7"), none, []string{"192.0.2.7"}, resultAnswered},
		"a family failed":              {good(), found(20e9, "192.0.2.7"), broken, []string{"192.0.2.7", "2001:db8::1"}, resultAnswered},
		"a family's name is gone":      {good(), noName, found(20e9, "2001:db8::7"), []string{"192.0.2.1", "2001:db8::7"}, resultAnswered},
		"both failed":                  {good(), broken, broken, []string{"192.0.2.1", "2001:db8::1"}, resultFailed},
		"the name is gone":             {good(), noName, noName, []string{"192.0.2.1", "2001:db8::1"}, resultNoName},
		"the name is empty":            {good(), none, none, []string{"192.0.2.1", "2001:db8::1"}, resultEmpty},
		"one empty, one failed":        {good(), none, broken, []string{"192.0.2.1", "2001:db8::1"}, resultFailed},
		"one empty, one gone":          {good(), none, noName, []string{"192.0.2.1", "2001:db8::1"}, resultNoName},
	} {
		t.Run(name, func(t *testing.T) {
			got, result := step(c.before, c.v4, c.v6, noon, 0)
			if diff := cmp.Diff(c.want, got.texts()); diff != "" || result != c.result {
				t.Errorf("result %q, want %q, addresses (-want +got):\n%s", result, c.result, diff)
			}
			if known := len(c.want) > 0; got.known() != known {
				t.Errorf("known is %v", got.known())
			}
		})
	}
}

func TestTheNextLookUpComesWhenTheAnswerEndsAndSoonerAfterAFailure(t *testing.T) {
	failing := good()
	var waits []time.Duration
	for range 9 {
		failing, _ = step(failing, broken, broken, noon, 0)
		waits = append(waits, failing.Due.Sub(noon))
	}
	if diff := cmp.Diff([]time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 60e9, 60e9, 60e9}, waits); diff != "" {
		t.Errorf("after failures (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		before record
		v4, v6 outcome
		chance float64
		want   time.Duration
	}{
		"the shorter TTL":         {good(), found(90e9, "192.0.2.1"), found(40e9, "2001:db8::1"), 0, 40e9},
		"not below the bound":     {good(), found(0, "192.0.2.1"), none, 0, minRefresh},
		"not above the bound":     {good(), found(maxTTL*time.Second, "192.0.2.1"), none, 0, maxRefresh},
		"half an answer":          {good(), found(maxRefresh, "192.0.2.1"), broken, 0, maxRetry},
		"up to a tenth sooner":    {good(), found(100e9, "192.0.2.1"), none, 1, 90e9},
		"a failure is over":       {failing, found(50e9, "192.0.2.1"), none, 0, 50e9},
		"retries are spread too":  {record{}, broken, broken, 1, 900 * time.Millisecond},
		"a name that isn't there": {record{}, noName, noName, 0, firstRetry},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := step(c.before, c.v4, c.v6, noon, c.chance)
			if diff := cmp.Diff(c.want, got.Due.Sub(noon)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheTTLIsTheOwnersAndNotWhatACacheHasLeft holds because a cache counts down: among a few
// answers the longest is near to what the owner said.
func TestTheTTLIsTheOwnersAndNotWhatACacheHasLeft(t *testing.T) {
	r := record{}
	serve := func(ttls ...time.Duration) time.Duration {
		for _, ttl := range ttls {
			r, _ = step(r, found(ttl, "192.0.2.1"), none, noon, 0)
		}
		return r.answer().TTL
	}
	for _, c := range []struct {
		heard []time.Duration
		want  time.Duration
	}{
		{[]time.Duration{17e9}, 17e9},
		{[]time.Duration{60e9, 12e9, 48e9}, 60e9},
		{[]time.Duration{5e9, 5e9, 5e9, 5e9, 5e9}, 60e9},
		{[]time.Duration{5e9}, 48e9}, // the owner has made it shorter
		{[]time.Duration{5e9, 5e9}, 5e9},
		{[]time.Duration{0, 0, 0, 0, 0, 0, 0, 0}, 1e9},
	} {
		if got := serve(c.heard...); got != c.want {
			t.Errorf("after %v the TTL is %v, want %v", c.heard, got, c.want)
		}
	}
}

func TestAnAnswerIsAsOldAsItsOlderFamily(t *testing.T) {
	r, _ := step(good(), found(20e9, "192.0.2.7"), broken, noon, 0)
	want := Answer{V4: addrs("192.0.2.7"), V6: addrs("2001:db8::1"), TTL: 30e9, At: noon.Add(-time.Minute)}
	if diff := cmp.Diff(want, r.answer(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
