package config

// Location is a place on the earth.
type Location struct {
	// Latitude is in degrees with at most six decimals, from -90 to 90; north is positive.
	Latitude string `koanf:"latitude" required:"yes" syntax:"latitude"`
	// Longitude is likewise, from -180 to 180; east is positive.
	Longitude string `koanf:"longitude" required:"yes" syntax:"longitude"`
}

// Geo is how the place of a client is found.
type Geo struct {
	// Country names a file of country data that is used instead of the built-in data, and read
	// again when it changes: lines of first address, last address and country, or what the
	// generator in steering/geo/gen makes; empty: the built-in data.
	Country string `koanf:"country" syntax:"file"`
	// Files are MMDB files of countries, cities or ASNs, read again when they change; what
	// geo.country may be is read too. Each fact (country, subdivision, ASN, place) comes from the
	// first file that has it, geo.country being the very first, or else from the built-in data.
	Files []string `koanf:"files" syntax:"file"`
	// Lists are prefixes under a name, for places and backends.
	Lists []PrefixList `koanf:"lists"`
}

// PrefixList is prefixes under a name.
type PrefixList struct {
	// Name is unique among the lists.
	Name string `koanf:"name" required:"yes" syntax:"name"`
	// Prefixes are IPv4 and IPv6 networks, the latter of at most 64 bits.
	Prefixes []string `koanf:"prefixes" required:"yes" syntax:"prefix"`
}

// Audience is clients by where they are.
type Audience struct {
	// Countries are two-letter codes (ISO 3166-1); whose country is known only from data.
	Countries []string `koanf:"countries" syntax:"country"`
	// Subdivisions are parts of countries as in US-CA (ISO 3166-2); they are known only from
	// files of city data (geo.files).
	Subdivisions []string `koanf:"subdivisions" syntax:"subdivision"`
	// ASNs are numbers of autonomous systems, as in 64496 or AS64496.
	ASNs []string `koanf:"asns" syntax:"asn"`
	// Prefixes are networks that belong to it, wherever the country data puts them.
	Prefixes []string `koanf:"prefixes" syntax:"prefix"`
	// Lists are names of geo.lists, whose prefixes belong to it as well.
	Lists []string `koanf:"lists"`
}
