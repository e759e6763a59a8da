package cookie_test

import (
	"net/netip"
	"testing"
	"time"

	"pointsman/steering/cookie"
)

// node is a node that reads the rota now and then.
type node struct {
	rota  cookie.Rota
	every time.Duration
}

// Two nodes follow one rota for a week, one of them reading it as late as the plan allows: what
// either makes, the other takes at once and for an hour.
func TestNodesTakeEachOthersCookiesWhileSecretsAreReplaced(t *testing.T) {
	plan := cookie.Plan{Lifetime: 24 * time.Hour, Lead: 10 * time.Minute}
	from := netip.MustParseAddr("192.0.2.1")
	start := time.Unix(2e9, 0)
	var shared cookie.Rota
	nodes := []*node{{every: 5 * time.Minute}, {every: 10 * time.Minute}}
	type given struct {
		option [cookie.Size]byte
		at     time.Time
	}
	var made []given
	keys, most := 0, 0
	for at := start; at.Before(start.Add(7 * 24 * time.Hour)); at = at.Add(5 * time.Minute) {
		next, changed := shared.Step(at, plan, cookie.NewKey())
		if changed && len(next.Encode()) > len(shared.Encode()) {
			keys++
		}
		shared = next
		for _, n := range nodes {
			if at.Sub(start)%n.every == 0 {
				n.rota = shared
			}
			var g given
			g.at = at
			n.rota.Jar(at).Make([]byte("12345678"), from, at, &g.option)
			made = append(made, g)
			// Encoding, too, keeps everything.
			again, err := cookie.Decode(n.rota.Encode())
			if err != nil {
				t.Fatal(err)
			}
			n.rota = again
		}
		for len(made) > 0 && at.Sub(made[0].at) > time.Hour {
			made = made[1:]
		}
		for i := range made {
			for j, n := range nodes {
				var out [cookie.Size]byte
				if n.rota.Jar(at).Check(made[i].option[:], from, at, &out) != cookie.Valid {
					t.Fatalf("%v: node %d refuses a cookie made at %v", at.Sub(start), j,
						made[i].at.Sub(start))
				}
			}
		}
		most = max(most, len(shared.Encode()))
	}
	if keys != 8 {
		t.Errorf("%d keys in a week of days, want the first and one for each", keys)
	}
	if one := len(cookie.Rota{}.Encode()); most > one+3*100 {
		t.Errorf("the rota grew to %d octets", most)
	}
}

func TestAKeyIsForgottenWhenItsCookiesAreTooOld(t *testing.T) {
	plan := cookie.Plan{Lifetime: 24 * time.Hour, Lead: 10 * time.Minute}
	start := time.Unix(2e9, 0)
	from := netip.MustParseAddr("192.0.2.1")
	first, _ := cookie.Rota{}.Step(start, plan, cookie.NewKey())
	if first.Jar(start) == nil || (cookie.Rota{}).Jar(start) != nil {
		t.Fatal("a rota has a jar as soon as it has a key")
	}
	staged, changed := first.Step(start.Add(24*time.Hour-plan.Lead), plan, cookie.NewKey())
	if !changed {
		t.Fatal("no new key was staged")
	}
	late := start.Add(25*time.Hour + 16*time.Minute)
	left, changed := staged.Step(late, plan, cookie.NewKey())
	if !changed {
		t.Fatal("nothing was forgotten")
	}
	var option, out [cookie.Size]byte
	first.Jar(start).Make([]byte("12345678"), from, late, &option)
	if got := left.Jar(late).Check(option[:], from, late, &out); got != cookie.Bad {
		t.Errorf("verdict %d for a cookie of a key that was forgotten", got)
	}
	if _, changed = left.Step(late, plan, cookie.NewKey()); changed {
		t.Error("a second step at the same time changed something")
	}
}

func TestOnlyARotaIsDecoded(t *testing.T) {
	k := `"00112233445566778899aabbccddeeff"`
	for _, raw := range []string{"", "{}", `[{"key":"00"}]`, `[{"key":1}]`,
		`[{"key":` + k + `,"from":"2030-01-02T00:00:00Z"},{"key":` + k +
			`,"from":"2030-01-01T00:00:00Z"}]`} {
		if _, err := cookie.Decode([]byte(raw)); err == nil {
			t.Errorf("%s was taken", raw)
		}
	}
}
