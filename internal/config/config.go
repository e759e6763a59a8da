package config

import (
	"time"

	"pointsman/internal/secret"
)

// Config is a checked configuration: names are unique, references resolve, values are within
// their limits and every default is filled in. It is immutable once Load has returned it.
type Config struct {
	// Node is this node's name, unique among the nodes that share a store.
	Node string `koanf:"node" syntax:"name"`
	// Vantage is where this node's probes run; several nodes may share one.
	Vantage string `koanf:"vantage" syntax:"name"`
	// Roles are the parts that this node runs.
	Roles []Role `koanf:"roles" oneof:"dns probe edge admin"`
	// StateDir holds the journal and the last known good state; the service makes it 0700.
	StateDir string `koanf:"state_dir"`

	// User is whom the node runs as when root starts it, by name or number: it then keeps nothing
	// of root's rights but to bind ports below 1024. Started by anybody else, and when left out,
	// it stays who it is. Linux alone.
	User string `koanf:"user"`
	// Group is the group in place of the user's own, by name or number.
	Group string `koanf:"group"`

	Log     Log     `koanf:"log"`
	Store   Store   `koanf:"store"`
	DNS     DNS     `koanf:"dns"`
	Probing Probing `koanf:"probing"`
	Geo     Geo     `koanf:"geo"`
	// Steering is how shares move that go by what is measured.
	Steering Steering `koanf:"steering"`

	// TSIGKeys are the keys that are shared with other nameservers (RFC 8945).
	TSIGKeys []TSIGKey `koanf:"tsig_keys"`
	// Zones are the DNS zones that this node answers for.
	Zones []Zone `koanf:"zones"`
	// Backends are the answers to steer between.
	Backends []Backend `koanf:"backends"`
	// Feeds are APIs that say what backends' metadata are, in place of constants.
	Feeds []Feed `koanf:"feeds"`
	// Pools are backends that are used together.
	Pools []Pool `koanf:"pools"`
	// Hosts are the steered names.
	Hosts []Host `koanf:"hosts"`
	// Providers are the purge APIs of CDNs and of Pointsman's own edge.
	Providers []Provider `koanf:"providers"`

	Edge  Edge  `koanf:"edge"`
	Purge Purge `koanf:"purge"`
	Admin Admin `koanf:"admin"`
}

// Role is a part of the process that a node may run.
type Role string

// The roles.
const (
	RoleDNS   Role = "dns"   // the authoritative nameserver
	RoleProbe Role = "probe" // probing of backends
	RoleEdge  Role = "edge"  // the caching reverse proxy
	RoleAdmin Role = "admin" // admin API, console and /metrics
)

// HasRole reports whether this node runs r.
func (c *Config) HasRole(r Role) bool {
	for _, have := range c.Roles {
		if have == r {
			return true
		}
	}
	return false
}

// Log says how this node logs, to standard error.
type Log struct {
	// Level is the least level that is written.
	Level string `koanf:"level" oneof:"debug info warn error"`
	// Format is how a line looks.
	Format string `koanf:"format" oneof:"text json"`
}

// The kinds of store.
const (
	StoreBolt  = "bolt"  // one node: a file in the state directory
	StoreRedis = "redis" // many nodes: a Redis or Valkey server
)

// Store is where nodes keep what outlives a restart.
type Store struct {
	// Kind is bolt for one node with one file, redis for state shared by many nodes.
	Kind string `koanf:"kind" oneof:"bolt redis"`
	// Redis is required for kind redis and refused for bolt; nil otherwise.
	Redis *Redis `koanf:"redis"`
}

// Redis is a Redis or Valkey server.
type Redis struct {
	// Address is host:port.
	Address string `koanf:"address" required:"yes" syntax:"hostport"`
	// Username is for ACLs; empty means the default user.
	Username string `koanf:"username"`
	// PasswordFile names a file that holds the password.
	PasswordFile string `koanf:"password_file" secret:"password"`
	// PasswordEnv names an environment variable that holds the password.
	PasswordEnv string `koanf:"password_env" secret:"password"`
	// Prefix begins every key of ours, so that several clusters can share a server.
	Prefix string `koanf:"prefix"`
	// TLS turns TLS on, `{}` for the system's roots; nil means plain TCP.
	TLS *ClientTLS `koanf:"tls"`

	// Password is read by Load from PasswordFile or PasswordEnv; zero without either.
	Password secret.String `koanf:"-"`
}

// ClientTLS is how we verify a server.
type ClientTLS struct {
	// CAFile names PEM certificates to trust instead of the system's; empty: the system's.
	CAFile string `koanf:"ca_file"`
	// ServerName is verified instead of the address's host; empty: the address's host.
	ServerName string `koanf:"server_name" syntax:"hostname"`
}

// DNS is the nameserver.
type DNS struct {
	// Listen holds address:port pairs, each served over UDP and TCP.
	Listen []string `koanf:"listen" required:"yes" syntax:"listen"`
	// UDPWorkers is how many sockets answer over UDP on each address, a thread for each; 0: as
	// many as the process may use cores.
	UDPWorkers int `koanf:"udp_workers" min:"0" max:"1024"`
	// Coalesce is how long a busy UDP worker (5,000 queries a second and more) that gets few
	// queries at a time sleeps before it reads the next ones. One wake-up then serves several,
	// which saves CPU time and adds as much to an answer's latency at most; 0s: it never sleeps.
	Coalesce time.Duration `koanf:"coalesce" min:"0s" max:"1ms"`
	// NSID tells resolvers that ask which node answered (RFC 5001), at most 64 octets; it also
	// answers id.server in class CH. Left out: nobody is told.
	NSID string `koanf:"nsid"`
	// Version answers version.bind in class CH, at most 255 octets; left out: that is refused.
	Version string `koanf:"version"`
	// ReportAgent is the name to which resolvers report what is wrong with our answers, such as a
	// broken signature (RFC 9567); left out: none is named.
	ReportAgent string `koanf:"report_agent" syntax:"hostname"`
	// Cookies are DNS cookies (RFC 7873).
	Cookies Cookies `koanf:"cookies"`
	// Amplification bounds answers to addresses that may be forged.
	Amplification Amplification `koanf:"amplification"`
	// RateLimit withholds answers over UDP from clients that get too many.
	RateLimit RateLimit `koanf:"rate_limit"`
	// TCP bounds connections.
	TCP TCP `koanf:"tcp"`
	// TLS serves DNS over TLS (RFC 7858); left out: nobody does.
	TLS *DNSTLS `koanf:"tls"`
	// MaxTransfers is how many zones are sent at the same time; more requests are refused.
	MaxTransfers int `koanf:"max_transfers" min:"1" max:"1000"`
	// Dnstap writes down messages; left out: none.
	Dnstap *Dnstap `koanf:"dnstap"`
	// DecisionLog writes down who was sent where, and why; left out: it doesn't.
	DecisionLog *DecisionLog `koanf:"decision_log"`
	// Resolvers are the recursive resolvers, as address:port, that names behind flattened hosts
	// and ALIAS records are asked of, in this order; left out: those of /etc/resolv.conf.
	Resolvers []string `koanf:"resolvers" syntax:"addrport"`
}

// Cookies are DNS cookies (RFC 7873, RFC 9018): a client that sends one back has proven its
// address. Their secrets are random and replaced by themselves, over all nodes that share a
// store, unless they are given.
type Cookies struct {
	// Enabled answers cookies; false ignores them.
	Enabled bool `koanf:"enabled"`
	// Lifetime is how long one secret makes cookies, unless it is given.
	Lifetime time.Duration `koanf:"lifetime" min:"1h" max:"720h"`
	// SecretFile names a file that holds the secret, 32 hexadecimal digits, the same on all nodes.
	SecretFile string `koanf:"secret_file" secret:"secret"`
	// SecretEnv names an environment variable that holds the secret.
	SecretEnv string `koanf:"secret_env" secret:"secret"`
	// PreviousSecretFile names a file that holds one more secret, whose cookies are taken too:
	// the one before, or the next one while not all nodes have it.
	PreviousSecretFile string `koanf:"previous_secret_file" secret:"previous_secret"`
	// PreviousSecretEnv names an environment variable that holds the previous secret.
	PreviousSecretEnv string `koanf:"previous_secret_env" secret:"previous_secret"`

	// Secret and Previous are read by Load; zero when none is given.
	Secret   secret.String `koanf:"-"`
	Previous secret.String `koanf:"-"`
}

// Amplification bounds how many times the octets of its query an answer over UDP may have, unless
// a cookie proves the client's address. A larger one sends the client to TCP.
type Amplification struct {
	// Unsigned is the bound for queries without the DO bit; 0: none.
	Unsigned int `koanf:"unsigned" min:"0" max:"1000"`
	// Signed is the bound for queries with it, whose answers have signatures; 0: none.
	Signed int `koanf:"signed" min:"0" max:"1000"`
}

// The values of RateLimit.Mode.
const (
	LimitEnforce = "enforce"
	LimitObserve = "observe"
	LimitOff     = "off"
)

// RateLimit bounds how many answers over UDP the clients within one prefix get, so that a query
// with a forged source is of no use against whoever has that address. Rates are answers a second;
// 0 bounds nothing. Each listen address counts for itself.
type RateLimit struct {
	// Mode is enforce, observe (count what would be withheld, and withhold nothing) or off.
	Mode string `koanf:"mode" oneof:"enforce observe off"`
	// Answers are answers with records, counted for each name; all names that one wildcard
	// answers for are one.
	Answers int `koanf:"answers" min:"0" max:"100000"`
	// NXDomain are denials of names, counted for each zone.
	NXDomain int `koanf:"nxdomain" min:"0" max:"100000"`
	// NoData are denials of types, counted for each name.
	NoData int `koanf:"nodata" min:"0" max:"100000"`
	// Errors are REFUSED, FORMERR and the like.
	Errors int `koanf:"errors" min:"0" max:"100000"`
	// All are answers of every kind together.
	All int `koanf:"all" min:"0" max:"100000"`
	// Slip is which of the withheld answers goes out without records, to send the client to TCP:
	// 2 is each second one, 1 all, 0 none.
	Slip int `koanf:"slip" min:"0" max:"15"`
	// IPv4Prefix is how many bits of an IPv4 address tell clients apart, here and for tcp.
	IPv4Prefix int `koanf:"ipv4_prefix" min:"8" max:"32"`
	// IPv6Prefix is how many bits of an IPv6 address do.
	IPv6Prefix int `koanf:"ipv6_prefix" min:"16" max:"64"`
	// Exempt are networks that are never limited, nor by tcp.per_client: monitoring, and a proxy
	// or load balancer before the node, behind which all clients look like one.
	Exempt []string `koanf:"exempt" syntax:"network"`
	// Buckets is how many clients and kinds of answer are remembered, by each UDP worker, in 8
	// bytes each.
	Buckets int `koanf:"buckets" min:"1024" max:"16777216"`
}

// TCP bounds connections, those of tls included.
type TCP struct {
	// Max is the most connections; beyond it the longest idle one is closed for a new one.
	Max int `koanf:"max" min:"1" max:"1000000"`
	// PerClient is the most connections of one client prefix; beyond it new ones are closed.
	PerClient int `koanf:"per_client" min:"1" max:"1000000"`
	// Idle is how long a connection may bring no query, or take no answer. It becomes shorter,
	// down to a tenth, as more than half of max or per_client are open.
	Idle time.Duration `koanf:"idle" min:"1s" max:"10m"`
}

// DNSTLS is DNS over TLS. The files are read again at each reload.
type DNSTLS struct {
	// Listen holds address:port pairs; 853 is the port that clients expect.
	Listen []string `koanf:"listen" required:"yes" syntax:"listen"`
	// CertFile names the certificate chain in PEM.
	CertFile string `koanf:"cert_file" required:"yes"`
	// KeyFile names the private key in PEM; it must not be readable by others.
	KeyFile string `koanf:"key_file" required:"yes"`
}

// Dnstap says which messages are written down as dnstap, and where to.
type Dnstap struct {
	// To is a reader that listens for Frame Streams, unix:/path or tcp:host:port, or file:/path.
	To string `koanf:"to" required:"yes" syntax:"dnstap"`
	// Sample writes one of so many messages; 1: all.
	Sample int `koanf:"sample" min:"1" max:"1000000"`
	// Messages are responses (AUTH_RESPONSE), queries (AUTH_QUERY) or both.
	Messages string `koanf:"messages" oneof:"responses queries both"`
	// Identity says which server it was; empty: the node's name.
	Identity string `koanf:"identity"`
	// MaxSize is the size at which a file is put aside and a new one begun.
	MaxSize Bytes `koanf:"max_size" min:"1MiB" max:"1TiB"`
	// Keep is how many files that were put aside stay.
	Keep int `koanf:"keep" min:"1" max:"1000"`
}

// DecisionLog says which decisions are written down, a line of JSON for each, and where to.
type DecisionLog struct {
	// File gets the lines. A folder beside it, the file's name with .tables, gets what each table
	// in them was compiled from.
	File string `koanf:"file" required:"yes" syntax:"file"`
	// Sample writes one of so many steered answers; 1: all.
	Sample int `koanf:"sample" min:"1" max:"1000000"`
	// Client is how much of the client's prefix stands in a line: full, as the decision was made;
	// prefix, no more than /24 or /56; none.
	Client string `koanf:"client" oneof:"full prefix none"`
	// MaxSize is the size at which the file is put aside and a new one begun.
	MaxSize Bytes `koanf:"max_size" min:"1MiB" max:"1TiB"`
	// Keep is how many files that were put aside stay.
	Keep int `koanf:"keep" min:"1" max:"1000"`
	// Tables is how many tables stay in the folder.
	Tables int `koanf:"tables" min:"1" max:"100000"`
}

// Probing holds the defaults of every backend's probe, and the budget.
type Probing struct {
	// Interval is the time from one probe's start to the next one's.
	Interval time.Duration `koanf:"interval" min:"100ms" max:"1h"`
	// Timeout is the most time one probe may take.
	Timeout time.Duration `koanf:"timeout" min:"10ms" max:"1m"`
	// Rise is how many successes in a row bring a backend back.
	Rise int `koanf:"rise" min:"1" max:"100"`
	// Fall is how many failures in a row take a backend out.
	Fall int `koanf:"fall" min:"1" max:"100"`
	// Budget is the most probes a second on this node.
	Budget int `koanf:"budget" min:"1" max:"100000"`
	// Control names backends that fail only when this node's own eyes do, such as the origin.
	// While every backend fails, all of these included, the last view is held and an alarm
	// raised. Without any, failures are always believed.
	Control []string `koanf:"control"`
}

// Zone is a DNS zone that this node is authoritative for.
type Zone struct {
	// Name is the zone's apex, such as example.com. Load makes it lower case and takes a
	// final dot away.
	Name string `koanf:"name" required:"yes" syntax:"hostname"`
	// TTL is that of records that do not say otherwise, and of NS and SOA.
	TTL time.Duration `koanf:"ttl" min:"1s" max:"168h" step:"1s"`
	// SOA is the zone's start of authority.
	SOA SOA `koanf:"soa"`
	// NS are the zone's nameservers, at least one, unless the zone file has them. Load makes a
	// name without a dot full.
	NS []string `koanf:"ns" syntax:"hostname"`
	// Records are the static records.
	Records []Record `koanf:"records"`
	// File names a zone file (RFC 1035 §5) with more records; $INCLUDE stays within its folder.
	// A SOA in it takes the place of soa, NS records of the zone that of ns.
	File string `koanf:"file" syntax:"file"`
	// DNSSEC signs the zone, `{}` with the defaults; left out: it isn't signed.
	DNSSEC *DNSSEC `koanf:"dnssec"`
	// Transfer lets others have the zone's static part (AXFR, IXFR); left out: nobody may.
	Transfer *Transfer `koanf:"transfer"`
	// Primary is where the zone's static part comes from, instead of from ttl, soa, ns, records
	// and file.
	Primary *Primary `koanf:"primary"`
}

// Transfer says who may transfer a zone, and who is told when it changes.
type Transfer struct {
	// To are the networks that may transfer the zone. With keys too, both are needed.
	To []string `koanf:"to" syntax:"network"`
	// Keys are names of tsig_keys, by one of which a request must be signed. The first signs
	// NOTIFY.
	Keys []string `koanf:"keys" syntax:"hostname"`
	// Notify are the address:port of servers that are told of new versions (RFC 1996).
	Notify []string `koanf:"notify" syntax:"addrport"`
	// Unsigned lets a zone with dnssec be transferred, without its signatures.
	Unsigned bool `koanf:"unsigned"`
}

// Primary is where a zone comes from.
type Primary struct {
	// Servers are the address:port of the primaries, asked in this order. Their NOTIFY is heeded.
	Servers []string `koanf:"servers" required:"yes" syntax:"addrport"`
	// Key is the name of one of tsig_keys, which signs all requests and must sign all answers and
	// NOTIFY; empty: nothing is signed.
	Key string `koanf:"key" syntax:"hostname"`
}

// TSIGKey is a key that is shared with other nameservers.
type TSIGKey struct {
	// Name is the key's name, the same on all servers; lower case, without a final dot.
	Name string `koanf:"name" required:"yes" syntax:"hostname"`
	// Algorithm is how messages are signed.
	Algorithm string `koanf:"algorithm" oneof:"hmac-sha256 hmac-sha384 hmac-sha512"`
	// SecretFile names a file that holds the secret in base64.
	SecretFile string `koanf:"secret_file" secret:"secret"`
	// SecretEnv names an environment variable that holds the secret in base64.
	SecretEnv string `koanf:"secret_env" secret:"secret"`

	// Secret is read by Load from SecretFile or SecretEnv.
	Secret secret.String `koanf:"-"`
}

// The values of DNSSEC.Keys and DNSSEC.Denial.
const (
	OneKey     = "csk"
	TwoKeys    = "ksk-zsk"
	DenyByName = "nsec"
	DenyByHash = "nsec3"
)

// The values of DNSSEC.Mode.
const (
	SignLocal   = "local"
	SignForAll  = "signer"
	SignKeyless = "keyless"
)

// DNSSEC says how a zone is signed.
type DNSSEC struct {
	// Mode is local for a node that signs for itself, signer for one that also publishes its
	// signatures through the store, keyless for one that has no keys and serves what a signer
	// has published; keyless needs store.kind redis.
	Mode string `koanf:"mode" oneof:"local signer keyless"`
	// Algorithm is that of the keys.
	Algorithm string `koanf:"algorithm" oneof:"ecdsap256sha256 ed25519"`
	// Keys is csk for one key that signs everything, ksk-zsk for one that signs keys and one
	// that signs the rest.
	Keys string `koanf:"keys" oneof:"csk ksk-zsk"`
	// KeyDir is the folder that holds a folder of keys for each zone; private keys have mode
	// 0600 and are made when there are none. Left out: dnssec in state_dir.
	KeyDir string `koanf:"key_dir"`
	// Denial is nsec, which lets everybody list the zone's names, or nsec3, which costs more.
	Denial string `koanf:"denial" oneof:"nsec nsec3"`
	// Validity is how long a signature holds.
	Validity time.Duration `koanf:"validity" min:"24h" max:"8760h"`
	// Refresh is how long before its end a signature is replaced; below half of validity.
	Refresh time.Duration `koanf:"refresh" min:"1h" max:"4380h"`
	// KeyLifetime is the age at which the KSK or CSK is replaced, which needs parent; 0s: never.
	KeyLifetime time.Duration `koanf:"key_lifetime" min:"0s" max:"87600h"`
	// ZoneKeyLifetime is the age at which the ZSK is replaced; 0s: never.
	ZoneKeyLifetime time.Duration `koanf:"zone_key_lifetime" min:"0s" max:"87600h"`
	// Parent are the parent zone's servers, or trusted resolvers, asked over TCP for the zone's
	// DS records while a KSK or CSK is replaced. All must have the new one.
	Parent []string `koanf:"parent" syntax:"hostport"`
	// ParentTTL is the TTL of the zone's DS records.
	ParentTTL time.Duration `koanf:"parent_ttl" min:"1s" max:"168h"`
	// Withdraw asks the parent to remove its DS records (RFC 8078), the first step of turning
	// DNSSEC off; take dnssec away when they are gone and their TTL is over.
	Withdraw bool `koanf:"withdraw"`
}

// SOA is a start of authority (RFC 1035 §3.3.13). The serial comes from the configuration's
// version, the primary is the zone's first NS.
type SOA struct {
	// Mbox is the mailbox with a dot for the @: hostmaster.example.com. Its default is
	// hostmaster in the zone.
	Mbox string `koanf:"mbox" syntax:"mailbox"`
	// Refresh is how often secondaries look for a new serial.
	Refresh time.Duration `koanf:"refresh" min:"1s" max:"168h" step:"1s"`
	// Retry is how long secondaries wait after a failed refresh.
	Retry time.Duration `koanf:"retry" min:"1s" max:"168h" step:"1s"`
	// Expire is when secondaries give up; at least Refresh plus Retry.
	Expire time.Duration `koanf:"expire" min:"1s" max:"8760h" step:"1s"`
	// NegativeTTL is how long resolvers keep a negative answer (RFC 2308 §4).
	NegativeTTL time.Duration `koanf:"negative_ttl" min:"1s" max:"3h" step:"1s"`
}

// Record is a static record.
type Record struct {
	// Name is relative to the zone, unless it ends in the zone's name; @ is the zone itself.
	Name string `koanf:"name" required:"yes"`
	// Type is the record's type in words: A, AAAA, CNAME, TXT; or ALIAS for the addresses behind
	// a name, also where no CNAME may stand, with a TTL of 1h at most. Load makes it upper case.
	Type string `koanf:"type" required:"yes"`
	// TTL is this record's own; 0 stands for the zone's and comes from leaving it out.
	TTL time.Duration `koanf:"ttl" min:"1s" max:"168h" step:"1s"`
	// Data is what a zone file would hold after the type. The nameserver parses it.
	Data string `koanf:"data" required:"yes"`
}

// Backend is one steerable answer: a CNAME or addresses, never both.
type Backend struct {
	// Name is unique among backends.
	Name string `koanf:"name" required:"yes" syntax:"name"`
	// CNAME is the provider's host name for our content; lower case, without a final dot.
	CNAME string `koanf:"cname" syntax:"hostname"`
	// Addresses are IPv4 and IPv6 addresses, answered as A and AAAA.
	Addresses []string `koanf:"addresses" syntax:"ip"`
	// HTTPS is the backend's HTTPS record (RFC 9460), `{}` for its defaults; nil means none. It
	// is for addresses, those of a flattened host among them: elsewhere a CNAME's record stands at
	// its target, where the CDN has it.
	HTTPS *HTTPS `koanf:"https"`
	// Provider names whose API purges this backend; empty: nobody does.
	Provider string `koanf:"provider"`
	// Up is whether its probes say if it is usable (probe), or it always counts as usable (true) or
	// as unhealthy (false). Only the first needs a probe.
	Up string `koanf:"up" oneof:"true false probe"`
	// Drain keeps the backend out of answers for as long as it stands here.
	Drain bool `koanf:"drain"`
	// Capacity is how many requests a second the backend can take, of all hosts together; 0: any
	// number. It bounds the shares of hosts that have a load.
	Capacity int `koanf:"capacity" min:"0" max:"1000000000000"`
	// Cost is what a GB costs there, for pools that choose by cost, in whatever currency all
	// costs are given in: a number of at most six decimals, such as 0.02.
	Cost Price `koanf:"cost" min:"0" max:"1000000"`
	// Contract is what its traffic costs in a month, for hosts whose balance is cost; left out: cost
	// for each GB.
	Contract *Contract `koanf:"contract"`
	// Cache is how its cache warms, which limits the shares that it returns with; left out: they are
	// not limited by that.
	Cache *Cache `koanf:"cache"`
	// Allow are the only clients that the backend may answer, whatever fails and whatever is
	// pinned; nil: all.
	Allow *Audience `koanf:"allow"`
	// Deny are clients that the backend must not answer, those of allow among them; nil: none.
	Deny *Audience `koanf:"deny"`
	// Location is where clients find the backend, for pools that choose the nearest; or say region.
	Location *Location `koanf:"location"`
	// Region is a country (DE), or a subdivision of the US, Canada or Australia (US-CA), whose
	// centre is taken for the location: the mean place of its settlements.
	Region string `koanf:"region" syntax:"region"`
	// Probe says how the backend's health is measured.
	Probe Probe `koanf:"probe"`
}

// The values of HTTPS.Hints.
const (
	HintsAuto = "auto"
	HintsNone = "none"
)

// HTTPS is what a backend's HTTPS record says. It is for the host itself, in ServiceMode.
type HTTPS struct {
	// Priority is the record's; the lowest is tried first, and 0 would make an alias of it.
	Priority int `koanf:"priority" min:"1" max:"65535"`
	// ALPN are the protocols that the backend speaks, besides HTTP/1.1 over TLS.
	ALPN []string `koanf:"alpn" oneof:"http/1.1 h2 h3"`
	// Port is another one than 443; 443 by leaving it out.
	Port int `koanf:"port" min:"1" max:"65535"`
	// Hints are auto for the backend's addresses, the same as its A and AAAA, or none.
	Hints string `koanf:"hints" oneof:"auto none"`
}

// The kinds of probe.
const (
	ProbeHTTP = "http" // an HTTP or HTTPS request
	ProbeTCP  = "tcp"  // a TCP connection
)

// Probe is how a backend's health is measured.
type Probe struct {
	// Kind is http for a request or tcp for a mere connection.
	Kind string `koanf:"kind" oneof:"http tcp"`
	// URL is what an http probe fetches. Required for it, refused for tcp.
	URL string `koanf:"url" syntax:"url"`
	// Address is the host:port that a tcp probe dials. For http it is what to dial instead
	// of the URL's host and port; empty: those.
	Address string `koanf:"address" syntax:"hostport"`
	// Host is the Host header and the TLS server name, when not the URL's.
	Host string `koanf:"host" syntax:"hostname"`
	// Method of an http probe.
	Method string `koanf:"method" oneof:"GET HEAD OPTIONS"`
	// Headers are sent with an http probe.
	Headers []Header `koanf:"headers"`
	// CAFile names PEM certificates to trust instead of the system's; empty: the system's.
	CAFile string `koanf:"ca_file"`
	// Expect is what a good answer looks like; http only.
	Expect Expect `koanf:"expect"`
	// Interval is probing.interval for this backend.
	Interval time.Duration `koanf:"interval" min:"100ms" max:"1h"`
	// Timeout is probing.timeout for this backend.
	Timeout time.Duration `koanf:"timeout" min:"10ms" max:"1m"`
	// Rise is probing.rise for this backend.
	Rise int `koanf:"rise" min:"1" max:"100"`
	// Fall is probing.fall for this backend.
	Fall int `koanf:"fall" min:"1" max:"100"`
}

// Header is an HTTP header field.
type Header struct {
	// Name is the field's name, in any case.
	Name string `koanf:"name" required:"yes" syntax:"token"`
	// Value is sent as it stands; in expect it must occur in the field's value, and empty
	// means that any value will do.
	Value string `koanf:"value"`
}

// Expect is what an http probe's answer must look like.
type Expect struct {
	// Status are the good status codes; empty: every 2xx. Redirects are not followed.
	Status []int `koanf:"status" min:"200" max:"599"`
	// Body must occur in the answer's first 256 KiB; empty: anything.
	Body string `koanf:"body"`
	// Headers must all be there.
	Headers []Header `koanf:"headers"`
}

// The values of Pool.Choose.
const (
	ChooseWeight   = "weight"
	ChooseFailover = "failover"
	ChooseLatency  = "latency"
	ChooseCost     = "cost"
	ChooseNearest  = "nearest"
)

// Pool holds backends that are used together, or pools of them.
type Pool struct {
	// Name is unique among pools.
	Name string `koanf:"name" required:"yes" syntax:"name"`
	// Choose says which of the members that can answer do: all (weight), the first (failover),
	// those about as fast as the fastest (latency), about as cheap as the cheapest (cost) or about
	// as near to the client as the nearest (nearest). They divide what there is by weight.
	Choose string `koanf:"choose" oneof:"weight failover latency cost nearest"`
	// Within is what "about as" allows: the larger of percent and span or distance.
	Within Within `koanf:"within"`
	// Members are the pool's backends and the pools in it, each at most once.
	Members []Member `koanf:"members" required:"yes"`
}

// Within is how far from the best a member of a pool may be and still answer.
type Within struct {
	// Percent is a part of the best member's latency, cost or distance.
	Percent int `koanf:"percent" min:"0" max:"1000"`
	// Span is a time, for pools that choose by latency.
	Span time.Duration `koanf:"span" min:"0s" max:"1m"`
	// Distance is in whole kilometres, as in 300km, for pools that choose the nearest.
	Distance string `koanf:"distance" syntax:"distance"`
}

// Member is a place in a pool: that of a backend, or that of a pool which divides its part.
type Member struct {
	// Backend names one of backends; this or pool is required.
	Backend string `koanf:"backend"`
	// Pool names one of pools, other than those that hold this one.
	Pool string `koanf:"pool"`
	// Weight is relative to the other members'; 0 drains.
	Weight int `koanf:"weight" min:"0" max:"1000000"`
}

// The values of Host.Stickiness.
const (
	Spread = "spread"
	Sticky = "sticky"
)

// The values of Host.Flatten.
const (
	FlattenAuto   = "auto"
	FlattenAlways = "always"
	FlattenNever  = "never"
)

// Host is a steered name.
type Host struct {
	// Name is the full name, in one of the zones; lower case, without a final dot.
	Name string `koanf:"name" required:"yes" syntax:"hostname"`
	// TTL is how long resolvers may keep an answer.
	TTL time.Duration `koanf:"ttl" min:"1s" max:"1h" step:"1s"`
	// TTLDegraded is the TTL while a backend that the host may use is unhealthy, coming back, or
	// fenced, so that users follow sooner; at most ttl, with which it never shortens. Left out: half
	// of ttl, and no less than 5s.
	TTLDegraded time.Duration `koanf:"ttl_degraded" min:"1s" max:"1h" step:"1s"`
	// LeastTTL is the shortest TTL that resolvers with very many users are answered with, so that
	// these divide, unless balance is queries. Left out: 5s, or ttl when that is shorter.
	LeastTTL time.Duration `koanf:"least_ttl" min:"1s" max:"1h" step:"1s"`
	// Balance is what shares are to make true: weights of answers (queries) or of requests
	// (traffic), equal latencies (latency), equal loads by capacity (load), or the lowest cost
	// within capacities and steering.within (cost).
	Balance string `koanf:"balance" oneof:"queries traffic latency load cost"`
	// Pools are tried in this order: the first with a usable member answers.
	Pools []string `koanf:"pools" required:"yes"`
	// Stickiness is spread (each query on its own) or sticky (a client prefix keeps its
	// backend for as long as the shares allow).
	Stickiness string `koanf:"stickiness" oneof:"spread sticky"`
	// Flatten says whether CNAME backends are answered with the addresses behind them: auto
	// where the host is a zone itself or one of its pools mixes CNAMEs and addresses, always, or
	// never.
	Flatten string `koanf:"flatten" oneof:"auto always never"`
	// Ramp is how long a backend that comes back takes to its full share; 0s: at once.
	Ramp time.Duration `koanf:"ramp" min:"0s" max:"1h"`
	// Load is how many requests a second the host gets at most, as far as you know; with it the
	// capacities of backends bound its shares. 0: not known.
	Load int `koanf:"load" min:"0" max:"1000000000000"`
	// RequireTypes are types of records that every backend of the host must be able to answer
	// with. One that lacks a type is answered without (NODATA), and the config is refused then.
	RequireTypes []string `koanf:"require_types" oneof:"A AAAA HTTPS"`
	// Places give clients of some countries or networks pools of their own: the first place
	// with a prefix that holds the client, else the first that lists its AS, else its
	// subdivision, else its country. Other clients get the host's pools.
	Places []Place `koanf:"places"`

	// Flattened is what Load made of Flatten: true when no CNAME is answered.
	Flattened bool `koanf:"-"`
}

// Place is where clients are that a host answers from pools of their own.
type Place struct {
	// Name is unique among the host's places; the default is made of the countries, as in
	// at-de, or else is place-1, place-2 and so on.
	Name string `koanf:"name" syntax:"name"`
	// Countries are two-letter codes (ISO 3166-1); whose country is known only from data.
	Countries []string `koanf:"countries" syntax:"country"`
	// Subdivisions are parts of countries as in US-CA (ISO 3166-2); they are known only from
	// files of city data (geo.files).
	Subdivisions []string `koanf:"subdivisions" syntax:"subdivision"`
	// ASNs are numbers of autonomous systems, as in 64496 or AS64496.
	ASNs []string `koanf:"asns" syntax:"asn"`
	// Prefixes are networks that belong to the place, wherever the country data puts them.
	Prefixes []string `koanf:"prefixes" syntax:"prefix"`
	// Lists are names of geo.lists, whose prefixes belong to the place as well.
	Lists []string `koanf:"lists"`
	// Pools are tried in this order: the first with a usable member answers.
	Pools []string `koanf:"pools" required:"yes"`
}

// The kinds of provider.
const (
	ProviderEdge       = "edge"
	ProviderFastly     = "fastly"
	ProviderCloudflare = "cloudflare"
)

// Provider is a purge API.
type Provider struct {
	// Name is unique among providers.
	Name string `koanf:"name" required:"yes" syntax:"name"`
	// Kind is which API it speaks.
	Kind string `koanf:"kind" required:"yes"`
	// ServiceID is Fastly's identifier of the service; required for kind fastly.
	ServiceID string `koanf:"service_id"`
	// ZoneID is Cloudflare's identifier of the zone, 32 hex digits; required for kind
	// cloudflare.
	ZoneID string `koanf:"zone_id"`
	// Nodes are the admin API's base URLs of every node that has an edge; required for kind
	// edge.
	Nodes []string `koanf:"nodes" syntax:"url"`
	// BaseURL replaces the vendor's API address, as for a stand-in; empty: the vendor's.
	BaseURL string `koanf:"base_url" syntax:"url"`
	// CAFile names PEM certificates to trust instead of the system's; empty: the system's.
	CAFile string `koanf:"ca_file"`
	// AllowWiden lets a purge by prefix or host that this provider lacks become a purge of
	// everything there. The result says so.
	AllowWiden bool `koanf:"allow_widen"`
	// SoftFallback is what a soft purge becomes where this provider has only hard ones: a
	// hard purge, or a refused one.
	SoftFallback string `koanf:"soft_fallback" oneof:"hard refuse"`
	// TokenFile names a file that holds the API token.
	TokenFile string `koanf:"token_file" secret:"token"`
	// TokenEnv names an environment variable that holds the API token.
	TokenEnv string `koanf:"token_env" secret:"token"`

	// Token is read by Load from TokenFile or TokenEnv; zero without either.
	Token secret.String `koanf:"-"`
}

// Edge is the caching reverse proxy of this node.
type Edge struct {
	// Listen holds address:port pairs for HTTP.
	Listen []string `koanf:"listen" required:"yes" syntax:"listen"`
	// Memory is the most bytes of cached objects.
	Memory Bytes `koanf:"memory" min:"1MiB" max:"1TiB"`
	// Sites are the host names that the edge serves; another one is refused.
	Sites []Site `koanf:"sites"`
}

// Site is what the edge serves for some host names.
type Site struct {
	// Hosts are the names in the Host header; lower case, without a final dot.
	Hosts []string `koanf:"hosts" required:"yes" syntax:"hostname"`
	// Origin is the base URL that misses are fetched from: scheme and host alone.
	Origin string `koanf:"origin" required:"yes" syntax:"url"`
	// StaleIfError is how long a stale object may answer for a failing origin when the
	// origin's answer does not say (RFC 5861 §4).
	StaleIfError time.Duration `koanf:"stale_if_error" min:"0s" max:"8760h"`
}

// The values of Purge.Durability.
const (
	DurabilityLocal      = "local"
	DurabilityReplicated = "replicated"
)

// Purge is how purges are delivered.
type Purge struct {
	// Deadline is after which a delivery that never succeeded is failed.
	Deadline time.Duration `koanf:"deadline" min:"1m" max:"720h"`
	// Verify fetches through each CDN and compares before a purge is called verified.
	Verify bool `koanf:"verify"`
	// Durability is local (this node's disk is enough to say yes) or replicated (a purge
	// that only this node would know is refused).
	Durability string `koanf:"durability" oneof:"local replicated"`
}

// Admin is the admin API, with the console and /metrics.
type Admin struct {
	// Listen is one address:port. Elsewhere than on loopback TLS and tokens are required.
	Listen string `koanf:"listen" required:"yes" syntax:"listen"`
	// TLS turns TLS on; nil means plain HTTP.
	TLS *ServerTLS `koanf:"tls"`
	// Tokens are who may call the API. Without any, loopback needs none.
	Tokens []Token `koanf:"tokens"`
}

// ServerTLS is our certificate.
type ServerTLS struct {
	// CertFile names the certificate chain in PEM.
	CertFile string `koanf:"cert_file" required:"yes"`
	// KeyFile names the private key in PEM; it must not be readable by others.
	KeyFile string `koanf:"key_file" required:"yes"`
}

// Token is a caller of the admin API.
type Token struct {
	// Name is unique among tokens and stands in the audit log.
	Name string `koanf:"name" required:"yes" syntax:"name"`
	// TokenFile names a file that holds the token.
	TokenFile string `koanf:"token_file" secret:"token"`
	// TokenEnv names an environment variable that holds the token.
	TokenEnv string `koanf:"token_env" secret:"token"`
	// Scopes are what the token may do.
	Scopes []string `koanf:"scopes" required:"yes" oneof:"read purge steer feed config admin"`

	// Token is read by Load from TokenFile or TokenEnv.
	Token secret.String `koanf:"-"`
}
