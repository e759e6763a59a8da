package wire

import "encoding/binary"

// Codes of EDNS options.
const (
	optionNSID      = 3  // RFC 5001
	optionSubnet    = 8  // RFC 7871
	optionCookie    = 10 // RFC 7873
	optionKeepAlive = 11 // RFC 7828
	optionPadding   = 12 // RFC 7830
	optionError     = 15 // RFC 8914
	optionReport    = 18 // RFC 9567
)

const (
	optSize    = 11 // an OPT record without options
	optionHead = 4  // code and length
)

// Wants is what a query's options ask for that have no data of their own.
type Wants struct{ NSID, KeepAlive, Padding bool }

// Error is an Extended DNS Error (RFC 8914 §2). Text may be empty; it is ASCII.
type Error struct {
	Code uint16
	Text string
}

// OPT is the OPT record of an answer. Options whose field is empty are not in it.
type OPT struct {
	// UDPSize is announced as the largest query that the server takes over UDP.
	UDPSize uint16
	// Rcode holds the upper eight bits of the response code (RFC 6891 §6.1.3).
	Rcode uint8
	DO    bool // as it was asked (RFC 3225 §3)
	// Scope is the prefix length for which the answer holds (RFC 7871 §7.2.1).
	Scope  uint8
	Subnet []byte // the client subnet as it was asked; Scope takes the place of its fourth octet
	// More holds all other options; nil: there are none, as in most answers.
	More *Options
}

// Options are options of an answer. One over its limit can do without Agent and Error.
type Options struct {
	Cookie []byte
	NSID   []byte
	// KeepAlive is how long an idle connection stays open, in units of 100 ms (RFC 7828 §3.1).
	KeepAlive uint16
	// Block pads the message to a multiple of so many octets (RFC 8467 §4.1).
	Block int
	Agent []byte // the name on the wire of the agent that errors are reported to
	Error *Error

	lean    bool // without what it can do without
	padding int  // octets of padding; less than 0: no such option
}

// Fit chooses what of the record goes into a message that has so many octets without it, so that
// it stays within a limit. It returns the size of the whole, which may still be above it.
func (o *OPT) Fit(size, limit int) int {
	if o.Subnet != nil || o.More != nil {
		return o.fit(size+optSize, limit)
	}
	return size + optSize
}

// fit is for what is rarer; without it Fit is small enough to be inlined.
func (o *OPT) fit(size, limit int) int {
	size += optionSize(o.Subnet)
	if o.More == nil {
		return size
	}
	return o.More.fit(size, limit)
}

func (o *Options) fit(size, limit int) int {
	size += optionSize(o.Cookie) + optionSize(o.NSID)
	if o.KeepAlive > 0 {
		size += optionHead + 2
	}
	spare := optionSize(o.Agent)
	if o.Error != nil {
		spare += optionHead + 2 + len(o.Error.Text)
	}
	o.lean, o.padding = size+spare > limit, -1
	if !o.lean {
		size += spare
	}
	if o.Block == 0 {
		return size
	}
	padded := (size + optionHead + o.Block - 1) / o.Block * o.Block
	if padded > limit {
		return size
	}
	o.padding = padded - size - optionHead
	return padded
}

func optionSize(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	return optionHead + len(data)
}

// Write writes the record that Fit chose behind the first octets of a message, up to its end, and
// counts it in the header.
func (o *OPT) Write(message []byte, off int) {
	binary.BigEndian.PutUint16(message[10:], binary.BigEndian.Uint16(message[10:])+1)
	rr := message[off:]
	rr[0] = 0
	binary.BigEndian.PutUint16(rr[1:], typeOPT)
	binary.BigEndian.PutUint16(rr[3:], o.UDPSize)
	binary.BigEndian.PutUint32(rr[5:], uint32(o.Rcode)<<24) // version 0, no flags
	if o.DO {
		rr[7] = 0x80
	}
	binary.BigEndian.PutUint16(rr[9:], uint16(len(rr)-optSize))
	rr = rr[optSize:]
	if len(o.Subnet) > 0 {
		scope := &rr[optionHead+3]
		rr = option(rr, optionSubnet, o.Subnet)
		*scope = o.Scope
	}
	if o.More != nil {
		o.More.write(rr)
	}
}

func (o *Options) write(rr []byte) {
	rr = option(rr, optionCookie, o.Cookie)
	rr = option(rr, optionNSID, o.NSID)
	if o.KeepAlive > 0 {
		rr = head(rr, optionKeepAlive, 2)
		binary.BigEndian.PutUint16(rr, o.KeepAlive)
		rr = rr[2:]
	}
	if !o.lean {
		rr = option(rr, optionReport, o.Agent)
		if o.Error != nil {
			rr = head(rr, optionError, 2+len(o.Error.Text))
			binary.BigEndian.PutUint16(rr, o.Error.Code)
			rr = rr[2+copy(rr[2:], o.Error.Text):]
		}
	}
	if o.padding >= 0 {
		clear(head(rr, optionPadding, o.padding)) // RFC 7830 §3
	}
}

// option writes an option, unless it has no data, and returns what follows it.
func option(rr []byte, code uint16, data []byte) []byte {
	if len(data) == 0 {
		return rr
	}
	rr = head(rr, code, len(data))
	return rr[copy(rr, data):]
}

func head(rr []byte, code uint16, length int) []byte {
	binary.BigEndian.PutUint16(rr, code)
	binary.BigEndian.PutUint16(rr[2:], uint16(length))
	return rr[optionHead:]
}
