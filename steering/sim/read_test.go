package sim_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/sim"
)

const good = `{"name": "w", "kind": "hard", "lasts": "5m",
 "backends": [{"name": "a", "weight": 1, "faults": [{"kind": "down", "from": "1m", "to": "2m"}]}]}`

func TestAWorldIsReadAndCompleted(t *testing.T) {
	w, err := sim.Read([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if w.TTL != minutes(1.0/3) || w.Users != 1e6 || len(w.Vantages) != 3 || len(w.Regions) != 1 {
		t.Errorf("read as %+v", w)
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for _, w := range library(t) {
		raw, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		again, err := sim.Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, again); diff != "" {
			t.Errorf("%s (-first +again):\n%s", w.Name, diff)
		}
	}
}

func TestEveryMistakeInAWorldIsNamedByItsPath(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`"5m"`, `"5 minutes"`, `"5 minutes" is no duration such as 90s, 20m or 2h`},
		{`"lasts"`, `"last"`, `unknown field "last"`},
		{`"weight": 1,`, "\"weight\": \"x\",", "line 2:"},
		{`"hard"`, `"soft"`, `kind is "soft", not hard, grey, false or plan`},
		{`"weight": 1`, `"weight": 0`, "backends are 1, 0 with a weight"},
		{`"down"`, `"dead"`, `backends[0].faults[0].kind is "dead"`},
		{`"to": "2m"`, `"to": "1m"`, "backends[0].faults[0] ends before it begins"},
		{`"to": "2m"`, `"to": "2m", "regions": ["x"]`, `regions "x" is none of the regions`},
		{`"to": "2m"`, `"to": "2m", "every": "1m"`, "faults[0].for and every are given together"},
		{`"to": "2m"`, `"to": "2m", "latency": "1s"`, "faults[0].latency is for slow alone"},
		{`"to": "2m"`, `"to": "2m", "ratio": 1.5`, "faults[0].ratio is not 0 to 1"},
		{`"name": "a"`, `"name": "control"`, "backends[0].name is empty"},
		{`"lasts": "5m",`, `"lasts": "72h",`, "lasts is 72h0m0s, not 1m to 48h"},
		{`"lasts": "5m",`, `"lasts": "5m", "ttl": "2h",`, "ttl is 2h0m0s"},
		{`"lasts": "5m",`, `"lasts": "5m", "vantages": [{"name": "v", "region": "x"}],`,
			`vantages[0].region "x" is none of the regions`},
		{`"lasts": "5m",`, `"lasts": "5m", "frozen": [{"policy": "x", "from": "1m", "to": "2m"}],`,
			`frozen[0].policy "x" is none of the policies`},
		{`"lasts": "5m",`, `"lasts": "5m", "plans": [{"at": "1m", "weights": {"x": 1}}],`,
			"plans[0].version is missing\nplans[0].weights \"x\" is none of the backends"},
		{`]}]}`, `]}]} {}`, "there is more behind its end"},
	} {
		_, err := sim.Read([]byte(strings.Replace(good, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: got %v, want %q", c.to, c.from, err, c.want)
		}
	}
}
