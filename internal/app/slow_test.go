package app_test

import (
	"strings"
	"testing"
	"time"

	"pointsman/internal/app"
)

func TestAGainThatCanOscillateIsRefusedWithItsLineAndTheLargestThatIsSafe(t *testing.T) {
	s := newSite(t)
	s.write(strings.Replace(s.config, "ttl: 5s, pools", "ttl: 5s, balance: traffic, pools", 1) +
		"steering: {loop: {gain: 0.5}}\n")
	_, err := app.Check(s.options())
	for _, want := range []string{"node.yaml:", "steering.loop.gain: cdn.example.test: a gain of " +
		"0.5 can oscillate with a TTL of 5s, a measuring delay of 30s", "use at most 0.0133"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
	s.write(s.config + "steering: {loop: {gain: 0.5}}\n") // no host goes by it
	if _, err := app.Check(s.options()); err != nil {
		t.Error(err)
	}
}

func TestASlowLoopLeadsANodeThatIsAloneAndSaysWhatItDoes(t *testing.T) {
	s := newSite(t)
	looped := strings.Replace(s.config, "ttl: 5s, pools", "ttl: 5s, balance: traffic, pools", 1) +
		"steering: {loop: {interval: 1s}}\n"
	s.write(looped)
	n := s.start()
	why := ""
	eventually(t, "the loop leads", func() bool {
		l, err := n.admin.Loop(t.Context())
		if err != nil || !l.Leading || len(l.Scopes) == 0 {
			return false
		}
		why = l.Scopes[0].Why
		return l.Seq > 1 && time.Since(l.At) < time.Minute
	})
	for _, want := range []string{"by traffic: ", "shares one 70.0 %, two 30.0 %",
		"goal one 70.0 %, two 30.0 %", "the traffic of one is not measured"} {
		if !strings.Contains(why, want) {
			t.Errorf("there is no %q in %q", want, why)
		}
	}
	s.write(s.config) // all by queries again
	eventually(t, "the loop lets go", func() bool {
		_, _ = n.admin.Reload(t.Context())
		l, err := n.admin.Loop(t.Context())
		return err == nil && !l.Active && len(l.Scopes) == 0
	})
}
