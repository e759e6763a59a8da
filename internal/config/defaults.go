package config

// defaultValue is what a path has when no source sets it, written as in the file.
type defaultValue struct{ path, value string }

// defaults holds every default of the configuration. A path with [] is filled in for each
// element of the list. What is not here has no default, except for these:
//
//   - node is the machine's host name, vantage the node's name;
//   - zones[].soa.mbox is hostmaster in the zone;
//   - hosts[].ttl_degraded is half of ttl, and no less than 5s;
//   - hosts[].places[].name is made of the countries;
//   - hosts[].least_ttl is 5s, or the host's ttl when that is shorter;
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
		{"dns.cookies.enabled", "true"},
		{"dns.cookies.lifetime", "24h"},
		{"dns.amplification.unsigned", "4"},
		{"dns.amplification.signed", "12"},
		{"dns.rate_limit.mode", LimitEnforce},
		{"dns.rate_limit.answers", "200"},
		{"dns.rate_limit.nxdomain", "200"},
		{"dns.rate_limit.nodata", "400"}, // a lookup of A comes with AAAA and HTTPS
		{"dns.rate_limit.errors", "100"},
		{"dns.rate_limit.all", "1000"},
		{"dns.rate_limit.slip", "2"},
		{"dns.rate_limit.ipv4_prefix", "24"},
		{"dns.rate_limit.ipv6_prefix", "56"},
		{"dns.rate_limit.exempt", "127.0.0.0/8,::1/128"},
		{"dns.rate_limit.buckets", "65536"},
		{"dns.tcp.max", "1000"},
		{"dns.tcp.per_client", "100"},
		{"dns.tcp.idle", "10s"},
		{"dns.max_transfers", "10"},
		{"dns.dnstap.sample", "1"},
		{"dns.dnstap.messages", "responses"},
		{"dns.dnstap.max_size", "100MiB"},
		{"dns.dnstap.keep", "5"},
		{"dns.decision_log.sample", "1"},
		{"dns.decision_log.client", "full"},
		{"dns.decision_log.max_size", "100MiB"},
		{"dns.decision_log.keep", "5"},
		{"dns.decision_log.tables", "200"},
		{"edge.listen", "127.0.0.1:8080"},
		{"admin.listen", "127.0.0.1:8053"},

		{"probing.interval", "1s"},
		{"probing.timeout", "2s"},
		{"probing.rise", "3"},
		{"probing.fall", "3"},
		{"probing.budget", "200"},

		{"steering.response", "64KiB"},
		{"steering.origin_factor", "1.5"},
		{"steering.within.percent", "20"},
		{"steering.within.span", "10ms"},
		{"steering.loop.interval", "10s"},
		{"steering.loop.slope", "4"},
		{"steering.loop.delay", "30s"},
		{"steering.loop.dead_band", "0.01"},
		{"steering.loop.rate", "0.06"},
		{"steering.loop.floor", "0.02"},
		{"steering.loop.fresh", "2m"},
		{"steering.loop.hold", "10m"},
		{"steering.loop.decay", "10m"},

		{"tsig_keys[].algorithm", "hmac-sha256"},

		{"zones[].ttl", "5m"},
		{"zones[].soa.refresh", "1h"},
		{"zones[].soa.retry", "10m"},
		{"zones[].soa.expire", "168h"},
		{"zones[].soa.negative_ttl", "30s"},
		{"zones[].dnssec.mode", SignLocal},
		{"zones[].dnssec.algorithm", "ecdsap256sha256"},
		{"zones[].dnssec.keys", OneKey},
		{"zones[].dnssec.denial", DenyByName},
		{"zones[].dnssec.validity", "336h"},
		{"zones[].dnssec.refresh", "120h"},
		{"zones[].dnssec.zone_key_lifetime", "720h"},
		{"zones[].dnssec.parent_ttl", "24h"},

		{"feeds[].interval", "10s"},
		{"feeds[].timeout", "3s"},
		{"feeds[].keep", "5m"},
		{"feeds[].hold", "10s"},
		{"feeds[].dead_band", "2"},

		{"backends[].up", UpByProbe},
		{"backends[].cache.cold", "1"},
		{"backends[].cache.warm", "0.05"},
		{"backends[].cache.life", "24h"},
		{"backends[].https.priority", "1"},
		{"backends[].https.hints", HintsAuto},
		{"backends[].probe.kind", ProbeHTTP},
		{"backends[].probe.method", "GET"},

		{"pools[].choose", ChooseWeight},
		{"pools[].members[].weight", "1"},

		{"hosts[].ttl", "20s"},
		{"hosts[].balance", BalanceQueries},
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
