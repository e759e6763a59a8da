package config

// defaultValue is what a path has when no source sets it, written as in the file.
type defaultValue struct{ path, value string }

// defaults holds every default of the configuration. A path with [] is filled in for each
// element of the list. What is not here has no default, except for these:
//
//   - node is the machine's host name, vantage the node's name;
//   - zones[].soa.mbox is hostmaster in the zone;
//   - hosts[].places[].name is made of the countries;
//   - zones[].dnssec.key_dir is dnssec in state_dir;
//   - interval, timeout, rise and fall of backends[].probe are those of probing.
func defaults() []defaultValue {
	return []defaultValue{
		{"roles", "dns,probe,edge,admin"},
		{"state_dir", "/var/lib/pointsman"},

		{"log.level", "info"},
		{"log.format", "text"},

		{"store.kind", StoreBolt},
		{"store.redis.prefix", "pointsman/"},

		// Loopback and high ports: a first run needs no root and exposes nothing.
		{"dns.listen", "127.0.0.1:5300"},
		{"dns.coalesce", "200us"},
		{"edge.listen", "127.0.0.1:8080"},
		{"admin.listen", "127.0.0.1:8053"},

		{"probing.interval", "1s"},
		{"probing.timeout", "2s"},
		{"probing.rise", "3"},
		{"probing.fall", "3"},
		{"probing.budget", "200"},

		{"zones[].ttl", "5m"},
		{"zones[].soa.refresh", "1h"},
		{"zones[].soa.retry", "10m"},
		{"zones[].soa.expire", "168h"},
		{"zones[].soa.negative_ttl", "30s"},
		{"zones[].dnssec.algorithm", "ecdsap256sha256"},
		{"zones[].dnssec.keys", OneKey},
		{"zones[].dnssec.denial", DenyByName},
		{"zones[].dnssec.validity", "336h"},
		{"zones[].dnssec.refresh", "120h"},
		{"zones[].dnssec.zone_key_lifetime", "720h"},
		{"zones[].dnssec.parent_ttl", "24h"},

		{"backends[].https.priority", "1"},
		{"backends[].https.hints", HintsAuto},
		{"backends[].probe.kind", ProbeHTTP},
		{"backends[].probe.method", "GET"},

		{"pools[].members[].weight", "1"},

		{"hosts[].ttl", "20s"},
		{"hosts[].stickiness", Spread},
		{"hosts[].ramp", "30s"},
		{"hosts[].flatten", FlattenAuto},

		{"providers[].soft_fallback", "hard"},

		{"edge.memory", "256MiB"},
		{"edge.sites[].stale_if_error", "1h"},

		{"purge.deadline", "24h"},
		{"purge.verify", "true"},
		{"purge.durability", DurabilityLocal},
	}
}

// inherited are the keys of probing that a backend's probe takes over.
func inherited() []string { return []string{"interval", "timeout", "rise", "fall"} }
