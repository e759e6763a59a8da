package api

import (
	"encoding/json"
	"time"
)

// Status is everything an operator wants to see first, with the age of each part.
type Status struct {
	Node          string       `json:"node"`
	Version       string       `json:"version"`
	Started       time.Time    `json:"started"`
	Now           time.Time    `json:"now"`
	Ready         bool         `json:"ready"`
	Roles         []string     `json:"roles"`
	ConfigHash    string       `json:"config_hash"`
	ConfigLoaded  time.Time    `json:"config_loaded"`
	TableVersion  uint64       `json:"table_version"`
	TableHash     string       `json:"table_hash"`
	TableCompiled time.Time    `json:"table_compiled"`
	Store         StoreStatus  `json:"store"`
	Hosts         []HostStatus `json:"hosts"`
	Backends      []Backend    `json:"backends"`
	Overrides     []Override   `json:"overrides"`
	Drill         *Drill       `json:"drill,omitempty"` // the one that runs, if any
	Edge          *EdgeStatus  `json:"edge,omitempty"`
	Warnings      []string     `json:"warnings,omitempty"`
}

// StoreStatus says whether the shared store is within reach.
type StoreStatus struct {
	Kind      string    `json:"kind"` // bolt or redis
	Reachable bool      `json:"reachable"`
	Since     time.Time `json:"since"` // when Reachable last changed
	Error     string    `json:"error,omitempty"`
}

// HostStatus is a steered name: what it should answer and what it did.
type HostStatus struct {
	Host     string         `json:"host"`
	TTL      float64        `json:"ttl_seconds"`
	Reason   string         `json:"reason"`
	Backends []BackendShare `json:"backends"`
}

// BackendShare is one backend's part of a steered name's answers.
type BackendShare struct {
	Backend string  `json:"backend"`
	Pool    string  `json:"pool"`
	Target  float64 `json:"target"` // 0 to 1, from the table
	Actual  float64 `json:"actual"` // 0 to 1, of the answers of the last minute
	Answers uint64  `json:"answers"`
}

// Backend is the health of one backend as this node holds it.
type Backend struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Since       time.Time  `json:"since"`
	Reason      string     `json:"reason"`
	LastSample  *time.Time `json:"last_sample,omitempty"`
	LatencyMS   float64    `json:"latency_ms"`
	CertExpires *time.Time `json:"cert_expires,omitempty"`
	Answer      string     `json:"answer"` // the CNAME target, or the addresses
	Provider    string     `json:"provider,omitempty"`
	// Metadata says what the config or feeds say of it besides, for people.
	Metadata []string `json:"metadata,omitempty"`
}

// EdgeStatus counts what this node's edge cache did since it started.
type EdgeStatus struct {
	Requests uint64 `json:"requests"`
	Hits     uint64 `json:"hits"`
	Misses   uint64 `json:"misses"`
	Objects  int    `json:"objects"`
	Bytes    int64  `json:"bytes"`
	Limit    int64  `json:"limit_bytes"`
}

// Override is an operator's intent. To create one, give Kind, Backend, Reason and either
// For (a duration such as "30m") or Expires.
type Override struct {
	ID      string    `json:"id,omitempty"`
	Kind    string    `json:"kind"` // drain, pin or weight
	Backend string    `json:"backend"`
	Host    string    `json:"host,omitempty"` // empty: every steered name
	Weight  uint32    `json:"weight,omitempty"`
	Reason  string    `json:"reason"`
	Actor   string    `json:"actor,omitempty"` // set by the node
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	For     string    `json:"for,omitempty"`
	Local   bool      `json:"local,omitempty"`
	// Unsaved says that no store has taken it yet: a restart of the node would forget it.
	Unsaved bool `json:"unsaved,omitempty"`
}

// Explanation is why a client gets the answer it gets, step by step.
type Explanation struct {
	Name          string        `json:"name"`
	Client        string        `json:"client"` // the prefix that was looked at
	Now           time.Time     `json:"now"`
	TableVersion  uint64        `json:"table_version"`
	TableHash     string        `json:"table_hash"`
	TableCompiled time.Time     `json:"table_compiled"`
	Steps         []ExplainStep `json:"steps"`
	Shares        []ExplainPart `json:"shares"` // what each backend gets of all clients
	// Backend, Pool, Reason, Answer and TTL are the decision for one draw of this client.
	Backend string   `json:"backend"`
	Pool    string   `json:"pool"`
	Reason  string   `json:"reason"`
	Answer  []string `json:"answer"`
	TTL     uint32   `json:"ttl_seconds"`
	Scope   uint8    `json:"scope"` // ECS scope for which this holds; 0: everyone
	Sticky  bool     `json:"sticky"`
}

// ExplainStep is one step on the way to an answer.
type ExplainStep struct {
	What   string         `json:"what"`
	Detail string         `json:"detail"`
	Inputs []ExplainInput `json:"inputs,omitempty"`
}

// ExplainInput is a fact that a step used, where it came from and how old it is.
type ExplainInput struct {
	Name   string    `json:"name"`
	Value  string    `json:"value"`
	Source string    `json:"source"`
	At     time.Time `json:"at,omitzero"`
}

// ExplainPart is one backend's share of a name.
type ExplainPart struct {
	Backend string  `json:"backend"`
	Pool    string  `json:"pool"`
	Share   float64 `json:"share"`
}

// Event is something that changed, for the live views. Sequence rises on one node.
type Event struct {
	Sequence uint64          `json:"seq"`
	At       time.Time       `json:"at"`
	Kind     string          `json:"kind"` // table, health, override, drill, purge, config, store
	Message  string          `json:"message"`
	Data     json.RawMessage `json:"data,omitempty"`
}

// Purge is what was asked. Wait belongs to the client, not to the request.
type Purge struct {
	Kind       string   `json:"kind"` // url, prefix, host, tag or everything
	Items      []string `json:"items,omitempty"`
	Soft       bool     `json:"soft,omitempty"`
	Providers  []string `json:"providers,omitempty"` // empty: all
	VerifyURLs []string `json:"verify_urls,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	// Confirm must be "everything" for a purge of everything.
	Confirm string `json:"confirm,omitempty"`
}

// PurgeStatus is a purge and what became of it at each provider.
type PurgeStatus struct {
	ID         string     `json:"id"`
	Purge      Purge      `json:"purge"`
	Actor      string     `json:"actor"`
	Accepted   time.Time  `json:"accepted"`
	AcceptedBy string     `json:"accepted_by"`
	Deadline   time.Time  `json:"deadline"`
	Durability string     `json:"durability"` // local or replicated
	Final      bool       `json:"final"`
	Outcome    string     `json:"outcome"` // pending, done, partly, failed or unverified
	Deliveries []Delivery `json:"deliveries"`
	// Warnings say which tags do not work, or do not mean the same, at some CDNs.
	Warnings []string `json:"warnings,omitempty"`
}

// Delivery is one provider's part of a purge.
type Delivery struct {
	Provider string     `json:"provider"`
	Form     string     `json:"form"` // exact, widened or unsupported
	State    string     `json:"state"`
	Attempts int        `json:"attempts"`
	Detail   string     `json:"detail,omitempty"` // why, and what to do
	Ref      string     `json:"ref,omitempty"`
	Updated  time.Time  `json:"updated"`
	Next     *time.Time `json:"next,omitempty"` // when it is tried again
}

// DrillRequest asks for a failover drill.
type DrillRequest struct {
	Backend string `json:"backend"`
	For     string `json:"for"` // a duration, such as "2m"
	Reason  string `json:"reason,omitempty"`
	// MinHealthy is the share of configured weight that must stay healthy, 0 to 1.
	MinHealthy float64 `json:"min_healthy,omitempty"`
	// Confirm must equal Backend.
	Confirm string `json:"confirm"`
}

// Drill is a failover drill: while it runs, and its report afterwards.
type Drill struct {
	ID       string          `json:"id"`
	Backend  string          `json:"backend"`
	State    string          `json:"state"` // running, restoring, done, aborted or failed
	Started  time.Time       `json:"started"`
	Ends     time.Time       `json:"ends"`
	Actor    string          `json:"actor"`
	Node     string          `json:"node"`
	Message  string          `json:"message,omitempty"`
	Report   json.RawMessage `json:"report,omitempty"`
	Markdown string          `json:"markdown,omitempty"` // the report for people
}

// EdgePurge asks this node's edge cache to drop or stale objects.
type EdgePurge struct {
	Kind  string   `json:"kind"`
	Items []string `json:"items,omitempty"`
	Soft  bool     `json:"soft,omitempty"`
}

// EdgePurged says what an EdgePurge did.
type EdgePurged struct {
	Purged     int    `json:"purged"` // objects it matched when it ran
	Generation uint64 `json:"generation"`
}

// Reloaded says what a config reload changed.
type Reloaded struct {
	ConfigHash string   `json:"config_hash"`
	Changed    bool     `json:"changed"`
	Warnings   []string `json:"warnings,omitempty"`
}

// AuditEntry is one recorded act.
type AuditEntry struct {
	At     time.Time         `json:"at"`
	Node   string            `json:"node"`
	Actor  string            `json:"actor"`
	From   string            `json:"from"`
	Action string            `json:"action"`
	Target string            `json:"target"`
	Reason string            `json:"reason,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}

// Provider is a configured provider and what it can do, kind by kind.
type Provider struct {
	Name         string          `json:"name"`
	Vendor       string          `json:"vendor"`
	Capabilities json.RawMessage `json:"capabilities"`
}
