package archtest

import (
	"fmt"
	"strings"
	"testing"

	"pointsman/providers"
	"pointsman/providers/cloudflare"
	"pointsman/providers/edgecache"
	"pointsman/providers/fastly"
	"pointsman/purge"
)

// TestTheTableOfProvidersIsTheCodes writes or compares what docs/purge.md says of each
// provider, from its own declaration.
func TestTheTableOfProvidersIsTheCodes(t *testing.T) {
	vendors := map[string]providers.Capabilities{
		edgecache.Vendor: edgecache.Capabilities(), fastly.Vendor: fastly.Capabilities(),
		cloudflare.Vendor: cloudflare.Capabilities(),
	}
	homes := 0
	for pkg := range allowed() {
		if strings.HasPrefix(pkg, "providers/") && !strings.Contains(pkg, "providertest") {
			homes++
		}
	}
	if homes != len(vendors) {
		t.Errorf("%d providers in the package map, %d here: add the new one", homes, len(vendors))
	}
	holds(t, "docs/purge.md", "providers", providers.Table(vendors))
}

// TestTheOutcomesOfAPurgeAreListed holds the outcomes and exit codes of docs/purge.md.
func TestTheOutcomesOfAPurgeAreListed(t *testing.T) {
	text := read(t, "docs/purge.md")
	for _, o := range []purge.Outcome{purge.Pending, purge.Done, purge.Unverified, purge.Partly,
		purge.NotDone} {
		row := fmt.Sprintf("| `%s` | %d |", o, o.ExitCode())
		if !strings.Contains(text, row) {
			t.Errorf("docs/purge.md has no row %q", row)
		}
	}
	for _, s := range []purge.State{purge.Queued, purge.Sent, purge.Accepted, purge.Estimated,
		purge.Confirmed, purge.Verified, purge.Failed, purge.Unsupported} {
		if !strings.Contains(text, fmt.Sprintf("| `%s` |", s)) {
			t.Errorf("docs/purge.md does not explain the state %s", s)
		}
	}
}
