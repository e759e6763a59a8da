package purge_test

import (
	"strings"
	"testing"
	"time"

	"pointsman/purge"
)

func TestJudgeAsksForProof(t *testing.T) {
	sent := base
	at := base.Add(30 * time.Second)
	aged := func(age time.Duration) purge.Fetched {
		return purge.Fetched{Status: 200, At: at, Age: age, AgeKnown: true, BodySHA256: "old"}
	}
	body := func(status int, etag, sum string) purge.Fetched {
		return purge.Fetched{Status: status, At: at, ETag: etag, BodySHA256: sum}
	}
	origin := body(200, `"2"`, "new")
	gone := body(404, "", "none")
	ill := body(503, "", "sorry")
	cases := []struct {
		name   string
		soft   bool
		got    purge.Fetched
		origin *purge.Fetched
		proven bool
		why    string
	}{
		{"stored well after the purge", false, aged(10 * time.Second), nil, true, "stored after"},
		{"stored in the very second of the purge proves nothing", false,
			aged(30 * time.Second), nil, false, "Age 30s"},
		{"stored before the purge", false, aged(time.Hour), nil, false, "Age 1h"},
		{"old age, but the content is the origin's", false,
			purge.Fetched{Status: 200, At: at, Age: time.Hour, AgeKnown: true, BodySHA256: "new"},
			&origin, true, "content"},
		{"content decides over an equal ETag", false, body(200, `"2"`, "old"), &origin,
			false, "differs"},
		{"ETag decides where a body is not known", false, body(200, `W/"2"`, ""), &origin,
			true, "ETag"},
		{"another ETag", false, body(200, `"1"`, ""), &origin, false, "differs"},
		{"neither tag nor body proves nothing", false, body(200, "", ""), &origin, false, "differs"},
		{"gone here and at the origin", false, body(404, "", "none"), &gone, true, "content"},
		{"still here though gone at the origin", false, body(200, `"2"`, "new"), &gone,
			false, "differs"},
		{"a backend in trouble proves nothing, however young its answer", false,
			purge.Fetched{Status: 502, At: at, AgeKnown: true}, &origin, false, "status 502"},
		{"an origin in trouble is no truth", false, body(503, "", "sorry"), &ill,
			false, "status 503"},
		{"an origin in trouble, a backend that differs", false, body(200, "", "x"), &ill,
			false, "the origin answered with status 503"},
		{"no Age and no origin", false, body(200, `"2"`, "new"), nil, false, "no origin"},
		{"a soft purge that still serves stale says so", true, aged(time.Hour), &origin,
			false, "serve stale while it revalidates"},
		{"a soft purge after revalidation", true, aged(time.Second), &origin, true, "stored after"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			proven, why := purge.Judge(sent, c.soft, c.got, c.origin)
			if proven != c.proven || !strings.Contains(why, c.why) {
				t.Errorf("got %v, %q; want %v, with %q", proven, why, c.proven, c.why)
			}
		})
	}
}
