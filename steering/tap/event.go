package tap

import (
	"net/netip"
	"time"

	"pointsman/steering"
)

// Proto is how a query came. The numbers are those of dnstap's SocketProtocol.
type Proto uint8

// The transports.
const (
	UDP Proto = 1
	TCP Proto = 2
	DOT Proto = 3
)

// String is the transport's name in lower case.
func (p Proto) String() string {
	switch p {
	case UDP:
		return "udp"
	case TCP:
		return "tcp"
	case DOT:
		return "dot"
	}
	return "other"
}

// MaxPicks is how many steered names one answer leads through at most.
const MaxPicks = 16

// Pick is one decision of an answer: what Table.Pick was asked, besides the client.
type Pick struct {
	Host string
	Draw uint64
}

// Event is one query and its answer. What its slices hold is copied by Source.Offer.
type Event struct {
	At, Done time.Time      // when the query came, and (if Wanted.Timed) its answer was ready
	Proto    Proto          // how it came
	Client   netip.AddrPort // the sender
	// Server is where the query was sent to; its address is not valid when the socket takes
	// queries for several.
	Server        netip.AddrPort
	Query, Answer []byte // as they are on the wire, without the length that TCP adds

	// The rest is for decisions; Picks is empty when nothing was picked.
	Table  *steering.Table
	Prefix netip.Prefix // the client that the decisions are for
	ECS    bool         // Prefix comes from the query's client subnet
	DO     bool
	Type   uint16
	Picks  []Pick

	// Offer fills these in: which goroutine answered, the how-manieth of its sampled events this
	// is, from 1, and how many of those before it were dropped.
	worker       int
	seq, dropped uint64
}
