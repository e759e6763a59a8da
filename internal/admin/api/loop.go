package api

import (
	"context"
	"net/http"
	"time"
)

// Loop is what the slow loop has decided, on whichever node.
type Loop struct {
	// Active is false when no host has a balance but queries and no cache is described.
	Active  bool      `json:"active"`
	Leading bool      `json:"leading"` // this node makes the steps
	Leader  string    `json:"leader,omitempty"`
	Now     time.Time `json:"now"`
	// Epoch, Seq and At are those of the guidance in force here: its leader's term, its number in
	// that, and when it was decided by the leader's clock.
	Epoch    uint64      `json:"epoch"`
	Seq      uint64      `json:"seq"`
	At       time.Time   `json:"at,omitzero"`
	Interval float64     `json:"interval_seconds"`
	Problem  string      `json:"problem,omitempty"` // why the last round failed here
	Scopes   []LoopScope `json:"scopes"`
	// Limits are parts of their weights that backends have while their caches are cold.
	Limits map[string]float64 `json:"limits,omitempty"`
	// MonthGB is the traffic of backends with a contract in this month.
	MonthGB map[string]float64 `json:"month_gb,omitempty"`
}

// LoopScope is a host's clients, or those at one of its places.
type LoopScope struct {
	Host    string             `json:"host"`
	Place   string             `json:"place,omitempty"`
	Verdict string             `json:"verdict,omitempty"` // of the last step
	Gain    float64            `json:"gain"`              // part of an error that a step corrects
	Shares  map[string]float64 `json:"shares,omitempty"`  // of all but the heavy resolvers
	Heavy   int                `json:"heavy"`             // resolvers with answers of their own
	Why     string             `json:"why"`
}

// Loop reads what the slow loop does.
func (c *Client) Loop(ctx context.Context) (Loop, error) {
	return call[Loop](ctx, c, http.MethodGet, "/v1/loop", nil, nil)
}
