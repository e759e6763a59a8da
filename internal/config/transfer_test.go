package config_test

import (
	"strings"
	"testing"

	"pointsman/internal/config"
)

func TestKeysAndPeersOfZonesAreChecked(t *testing.T) {
	const good = `tsig_keys: [{name: Key.Example., secret_env: K}]
zones:
  - {name: a.test, ns: [ns.b.test], transfer: {keys: [key.example], to: [192.0.2.1/32]}}
  - {name: b.test, primary: {servers: ["192.0.2.1:53"], key: key.example}}
`
	const secret = "c2VjcmV0IG9mIDE2KyBvY3RldHM="
	for _, c := range []struct{ old, new, secret, want string }{
		{"", "", secret, ""},
		{"", "", "no base64!", "tsig_keys[0]: the secret of \"key.example\" is not base64"},
		{"", "", "c2hvcnQ=", "has 5 octets, and fewer than 16 can be guessed"},
		{", secret_env: K", "", secret, "tsig_keys[0].secret_file: is missing"},
		{"secret_env: K", "secret_env: K, algorithm: hmac-md5", secret, "tsig_keys[0].algorithm"},
		{"keys: [key.example]", "keys: [other]", secret, "transfer.keys[0]: \"other\" is not one of"},
		{"key: key.example}", "key: other}", secret, "primary.key: \"other\" is not one of"},
		{"keys: [key.example], to: [192.0.2.1/32]", "notify: [\"192.0.2.9:53\"]", secret,
			"nobody may transfer the zone"},
		{"192.0.2.1/32", "192.0.2.1", secret, "transfer.to[0]: \"192.0.2.1\" is an address"},
		{"192.0.2.1:53", "ns.test:53", secret, "is not address:port"},
		{"192.0.2.1:53", "192.0.2.1:0", secret, "has no port"},
		{"name: b.test,", "name: b.test, ns: [ns.b.test],", secret, "ns: comes from the primary"},
		{"name: b.test,", "name: b.test, ttl: 5m,", secret, "ttl: comes from the primary"},
		{"ns: [ns.b.test],", "ns: [ns.b.test], dnssec: {},", secret, "transfer.unsigned: the zone is signed"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		_, _, err := config.Load(config.Options{Data: []byte(text), Env: []string{"K=" + c.secret}})
		if c.want == "" && err != nil || c.want != "" &&
			(err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q for %q with %q: %v", c.new, c.old, c.secret, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the secret is shown: %v", err)
		}
	}
}
