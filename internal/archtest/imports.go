// Package archtest holds the rules of the house as data and tests: which package may import
// which, how large things may grow, where goroutines may start and which documents must load.
// It is for tests alone and owns no goroutine.
package archtest

// Module is the path of this module.
const Module = "pointsman"

// allowed lists, for every package, which packages of ours it may import. It is the package
// map of docs/architecture.md; a package that is missing here fails the build. Package
// internal/secret is open to all and not listed again.
func allowed() map[string][]string {
	return map[string][]string{
		"internal/secret":           {},
		"internal/store":            {},
		"internal/store/boltstore":  {"internal/store"},
		"internal/store/redisstore": {"internal/store"},
		"internal/store/storetest":  {"internal/store"},
		"internal/audit":            {"internal/store"},
		"internal/nearest":          {},
		"internal/config":           {"internal/nearest"},
		"internal/admin/api":        {},
		"internal/privilege":        {},
		"internal/console":          {},
		"internal/archtest":         {},
		"dashboards":                {},

		"probes":        {},
		"probes/health": {"probes", "internal/store"},

		"steering":                {"probes/health", "steering/control", "steering/geo"},
		"steering/alias":          {"internal/store"},
		"steering/control":        {},
		"steering/geo":            {},
		"steering/geo/gen":        {"steering/geo"},
		"steering/geo/geotest":    {},
		"steering/wire":           {},
		"steering/dnssec":         {},
		"steering/dnssec/publish": {"internal/store", "steering/dnssec"},
		"steering/cookie":         {},
		"steering/override":       {"steering", "internal/store"},
		"steering/feed":           {"steering", "internal/store"},
		"steering/dnsserver": {"steering", "steering/geo", "steering/wire", "steering/dnssec",
			"steering/cookie", "steering/tap", "steering/tsig", "steering/control"},
		"steering/tap":      {"steering", "steering/geo", "steering/wire"},
		"steering/tsig":     {},
		"steering/replay":   {"steering", "steering/geo"},
		"steering/whatif":   {"steering"},
		"steering/transfer": {"steering/tsig"},
		"steering/drill":    {"probes", "steering", "internal/store"},
		"steering/slow":     {"steering/control", "internal/store"},
		"steering/sim":      {"probes", "probes/health", "steering", "steering/control"},

		"providers":                    {},
		"providers/fastly":             {"providers"},
		"providers/cloudflare":         {"providers"},
		"providers/edgecache":          {"providers", "internal/admin/api"},
		"providers/providertest":       {"providers", "internal/admin/api"},
		"providers/providertest/suite": {"providers", "providers/providertest"},
		"purge":                        {"providers", "internal/store"},

		"edge":           {"edge/freshness", "edge/storage"},
		"edge/freshness": {},
		"edge/storage":   {"edge/freshness"},

		"internal/admin": {"internal/admin/api", "internal/audit", "internal/nearest",
			"steering", "steering/drill", "probes/health", "providers", "purge", "edge"},
		"internal/demo": {"edge", "providers/providertest"},
		"internal/app":  {"*"},

		"cmd/pointsman": {"internal/app", "internal/config", "internal/admin/api",
			"internal/demo", "dashboards", "steering", "steering/replay", "steering/sim",
			"steering/whatif"},
	}
}

// homes lists the libraries that live in one place, and where. Their types cross no border.
func homes() map[string][]string {
	return map[string][]string{
		"github.com/miekg/dns": {"steering/dnsserver", "steering/dnssec", "steering/alias",
			"steering/transfer"},
		"github.com/go-resty/resty":     {"providers"},
		"github.com/redis/go-redis":     {"internal/store/redisstore"},
		"go.etcd.io/bbolt":              {"internal/store/boltstore"},
		"github.com/knadh/koanf":        {"internal/config"},
		"go.yaml.in/yaml":               {"internal/config"},
		"github.com/danielgtaylor/huma": {"internal/admin"},
		"github.com/fsnotify/fsnotify":  {"internal/app"},
		"github.com/sony/gobreaker":     {"purge"},
		"github.com/dunglas/httpsfv":    {"edge"},
		"github.com/spf13/cobra":        {"cmd/pointsman"},

		"github.com/oschwald/maxminddb-golang": {"steering/geo"},
		"github.com/maxmind/mmdbwriter":        {"steering/geo/geotest"},

		"charm.land/": {"cmd/pointsman"},
	}
}
