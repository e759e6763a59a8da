package cookie_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pointsman/internal/secret"
	"pointsman/steering/cookie"
)

func key(t testing.TB, digits string) cookie.Key {
	t.Helper()
	k, err := cookie.ParseKey(secret.New(digits))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func octets(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 9018 Appendix A.
func TestCookiesAreThoseOfTheRFC(t *testing.T) {
	const one, old, next = "e5e973e5a6b2a43f48e7dc849e37bfcf", "dd3bdf9344b678b185a6f5cb60fca715",
		"445536bcd2513298075a5d379663c962"
	for _, c := range []struct {
		about string
		keys  []string
		from  string
		at    int64
		in    string
		want  string
		valid cookie.Verdict
	}{
		{"A.1: a new one", []string{one}, "198.51.100.100", 1559731985, "2464c4abcf10c957",
			"2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookie.ClientOnly},
		{"A.2: the same client's, renewed", []string{one}, "198.51.100.100", 1559734385,
			"2464c4abcf10c957010000005cf79f111f8130c3eee29480",
			"2464c4abcf10c957010000005cf7a871d4a564a1442aca77", cookie.Valid},
		{"A.3: reserved octets are hashed, not judged", []string{one}, "203.0.113.203", 1559734700,
			"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
			"fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", cookie.Bad},
		{"A.3 at its time", []string{one}, "203.0.113.203", 0x5cf78f71 + 60,
			"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
			"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", cookie.Valid},
		{"A.4: IPv6 and a secret that was replaced", []string{next, old},
			"2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961,
			"22681ab97d52c298010000005cf7c57926556bd0934c72f8",
			"22681ab97d52c298010000005cf7c609a6bb79d16625507a", cookie.Valid},
	} {
		var others []cookie.Key
		for _, k := range c.keys[1:] {
			others = append(others, key(t, k))
		}
		jar := cookie.NewJar(key(t, c.keys[0]), others...)
		var out [cookie.Size]byte
		got := jar.Check(octets(t, c.in), netip.MustParseAddr(c.from), time.Unix(c.at, 0), &out)
		if got != c.valid || hex.EncodeToString(out[:]) != c.want {
			t.Errorf("%s: verdict %d and %x, want %d and %s", c.about, got, out, c.valid, c.want)
		}
	}
}

func TestACookieHoldsForItsTimeAndItsClient(t *testing.T) {
	jar := cookie.NewJar(cookie.NewKey())
	made := time.Unix(2e9, 0)
	from := netip.MustParseAddr("192.0.2.1")
	var given [cookie.Size]byte
	jar.Make([]byte("clientclient"), from, made, &given)
	change := func(i int) []byte {
		b := bytes.Clone(given[:])
		b[i] ^= 1
		return b
	}
	for _, c := range []struct {
		about  string
		option []byte
		from   string
		after  time.Duration
		want   cookie.Verdict
		same   bool
	}{
		{"at once", given[:], "192.0.2.1", 0, cookie.Valid, true},
		{"from a mapped address", given[:], "::ffff:192.0.2.1", 0, cookie.Valid, true},
		{"until it is renewed", given[:], "192.0.2.1", 30 * time.Minute, cookie.Valid, true},
		{"after that", given[:], "192.0.2.1", 30*time.Minute + time.Second, cookie.Valid, false},
		{"for an hour", given[:], "192.0.2.1", time.Hour, cookie.Valid, false},
		{"no longer", given[:], "192.0.2.1", time.Hour + time.Second, cookie.Bad, false},
		{"made by a clock ahead", given[:], "192.0.2.1", -5 * time.Minute, cookie.Valid, true},
		{"made too far ahead", given[:], "192.0.2.1", -5*time.Minute - time.Second, cookie.Bad, false},
		{"another client", given[:], "192.0.2.2", 0, cookie.Bad, false},
		{"another client cookie", change(0), "192.0.2.1", 0, cookie.Bad, false},
		{"another version", change(8), "192.0.2.1", 0, cookie.Bad, false},
		{"other reserved octets", change(9), "192.0.2.1", 0, cookie.Bad, false},
		{"another time", change(15), "192.0.2.1", 0, cookie.Bad, false},
		{"another hash", change(23), "192.0.2.1", 0, cookie.Bad, false},
		{"another server's", given[:16], "192.0.2.1", 0, cookie.Bad, false},
		{"none", given[:8], "192.0.2.1", 0, cookie.ClientOnly, false},
	} {
		var out [cookie.Size]byte
		at := made.Add(c.after)
		got := jar.Check(c.option, netip.MustParseAddr(c.from), at, &out)
		if got != c.want || bytes.Equal(out[:], c.option) != c.same {
			t.Errorf("%s: verdict %d, want %d; the same cookie: %t", c.about, got, c.want,
				bytes.Equal(out[:], c.option))
		}
		var again [cookie.Size]byte
		if jar.Check(out[:], netip.MustParseAddr(c.from), at, &again) != cookie.Valid {
			t.Errorf("%s: the answer's cookie is not valid", c.about)
		}
	}
}

func TestTimesWrapAround(t *testing.T) {
	jar := cookie.NewJar(cookie.NewKey())
	from := netip.MustParseAddr("2001:db8::1")
	var given, out [cookie.Size]byte
	jar.Make([]byte("12345678"), from, time.Unix(1<<32-60, 0), &given)
	if got := jar.Check(given[:], from, time.Unix(1<<32+60, 0), &out); got != cookie.Valid {
		t.Errorf("verdict %d across the wrap of 2106", got)
	}
}

func TestNoRenderingShowsAKey(t *testing.T) {
	const canary = "00112233445566778899aabbccddeeff"
	k := key(t, canary)
	type holder struct {
		Key   cookie.Key
		inner cookie.Key
		jar   *cookie.Jar
	}
	h := holder{k, k, cookie.NewJar(k, k)}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+verb+verb, h, *h.jar, k)
	}
	if err := json.NewEncoder(&b).Encode(h); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{canary[:8], canary[8:16], "33221100", "7766554433221100",
		"8603657889541918976"} { // of the first half, as a number
		if strings.Contains(b.String(), form) {
			t.Errorf("a rendering shows the key: %s", b.String())
		}
	}
	for _, bad := range []string{"", "0011", canary + "00", canary[:30] + "zz"} {
		if _, err := cookie.ParseKey(secret.New(bad)); err == nil ||
			bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestChecksAllocateNothing(t *testing.T) {
	jar := cookie.NewJar(cookie.NewKey(), cookie.NewKey())
	from := netip.MustParseAddr("2001:db8::1")
	var given, out [cookie.Size]byte
	now := time.Unix(2e9, 0)
	jar.Make([]byte("12345678"), from, now, &given)
	if n := testing.AllocsPerRun(100, func() {
		jar.Check(given[:], from, now, &out)
		jar.Check(given[:8], from, now, &out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	jar := cookie.NewJar(cookie.NewKey())
	from := netip.MustParseAddr("192.0.2.1")
	var given, out [cookie.Size]byte
	now := time.Unix(2e9, 0)
	jar.Make([]byte("12345678"), from, now, &given)
	for b.Loop() {
		jar.Check(given[:], from, now, &out)
	}
}
