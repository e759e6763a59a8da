package config_test

import (
	"strings"
	"testing"
	"time"

	"pointsman/internal/config"
)

func TestTheDegradedTTLIsHalfUnlessItIsGiven(t *testing.T) {
	for ttl, want := range map[string]time.Duration{
		"20s": 10 * time.Second, "15s": 7 * time.Second, "8s": 5 * time.Second,
		"3s": 3 * time.Second, "5m": 150 * time.Second,
		"60s, ttl_degraded: 60s": time.Minute, "60s, ttl_degraded: 2s": 2 * time.Second,
	} {
		text := strings.Replace(withPlaces(""), "    pools: [edge]\n    places:\n",
			"    pools: [edge]\n", 1)
		text = strings.Replace(text, "  - name: cdn.example.test\n    pools: [edge]\n",
			"  - {name: cdn.example.test, pools: [edge], ttl: "+ttl+"}\n", 1)
		cfg, report, err := config.Load(config.Options{Data: []byte(text), Name: "x"})
		if err != nil {
			t.Fatalf("%s: %v %v", ttl, err, report)
		}
		if got := cfg.Hosts[0].TTLDegraded; got != want {
			t.Errorf("a TTL of %s shortens to %s, want %s", ttl, got, want)
		}
	}
}
