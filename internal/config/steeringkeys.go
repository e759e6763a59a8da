package config

import "time"

// Steering is how shares move that go by what is measured.
type Steering struct {
	// Response is how many bytes a response has on average, by which requests become traffic for
	// contracts.
	Response Bytes `koanf:"response" min:"1" max:"1GiB"`
	// OriginFactor is how many times its usual load the origin may get while caches warm.
	OriginFactor Ratio `koanf:"origin_factor" min:"1" max:"100"`
	// Within is how much slower than the fastest a backend may be that balance cost chooses: the
	// larger of percent and span.
	Within Within `koanf:"within"`
	// Loop is how shares move.
	Loop Loop `koanf:"loop"`
}

// Loop is the slow loop, which moves the shares of hosts whose balance is not queries. Its defaults
// are safe for all TTLs.
type Loop struct {
	// Interval is the time between steps.
	Interval time.Duration `koanf:"interval" min:"1s" max:"10m"`
	// Gain is the part of an error that one step corrects. One with which shares could swing is
	// refused, with the largest that is safe; left out: that, for each host.
	Gain Ratio `koanf:"gain" min:"0.000001" max:"1"`
	// Slope is by how many percent a latency or load rises at most when the backend's share rises
	// by one percent: 4 is a queue at 80 % of its capacity.
	Slope Ratio `koanf:"slope" min:"0.1" max:"1000"`
	// Delay is how old what is measured is on average when a step sees it: half of the time that it
	// is a mean of, and what reporting takes.
	Delay time.Duration `koanf:"delay" min:"0s" max:"1h"`
	// DeadBand is the error that is let be, as a part of all answers.
	DeadBand Ratio `koanf:"dead_band" min:"0" max:"0.5"`
	// Rate is which part of the answers may move in a minute.
	Rate Ratio `koanf:"rate" min:"0.0001" max:"10"`
	// Floor is the least share of a backend with a weight: without traffic nothing would be
	// measured there.
	Floor Ratio `koanf:"floor" min:"0" max:"0.1"`
	// Fresh is the age up to which what is measured counts; beyond it shares stay.
	Fresh time.Duration `koanf:"fresh" min:"1s" max:"24h"`
	// Hold is how long shares stay so before they move back to the weights.
	Hold time.Duration `koanf:"hold" min:"0s" max:"168h"`
	// Decay is the time in which two thirds of that way are gone.
	Decay time.Duration `koanf:"decay" min:"1s" max:"168h"`
}

// Contract is by volume, with tiers, or by 95/5, with peak: the highest twentieth of a month's
// 5-minute means is free then, and the next highest is billed.
type Contract struct {
	// Tiers are the prices of a GB by the month's volume, from 0 upwards.
	Tiers []Tier `koanf:"tiers"`
	// Peak is the monthly price of a Mbit/s at the 95th percentile.
	Peak Price `koanf:"peak" min:"0" max:"1000000"`
	// Commit is paid for in any case: GB with tiers, Mbit/s with peak.
	Commit int `koanf:"commit" min:"0" max:"1000000000000"`
}

// Tier is a price that holds up to a volume.
type Tier struct {
	// UpTo is in GB of a month; left out: without end, in the last tier alone.
	UpTo int `koanf:"up_to" min:"0" max:"1000000000000"`
	// Price is that of a GB.
	Price Price `koanf:"price" min:"0" max:"1000000"`
}

// Cache is how a backend's cache warms.
type Cache struct {
	// Cold is which part of requests misses an empty cache.
	Cold Ratio `koanf:"cold" min:"0" max:"1"`
	// Warm is which part misses a full one.
	Warm Ratio `koanf:"warm" min:"0" max:"1"`
	// WorkingSet is how many requests make an empty cache 63 % warm.
	WorkingSet int `koanf:"working_set" required:"yes" min:"1" max:"1000000000000"`
	// Life is how long an object stays without being asked for.
	Life time.Duration `koanf:"life" min:"1m" max:"8760h"`
}
