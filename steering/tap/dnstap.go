package tap

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// The numbers of dnstap.proto (dnstap.info, schema of 2023): fields of the message Dnstap, then
// of the message Message, then values.
const (
	fieldIdentity = 1
	fieldVersion  = 2
	fieldMessage  = 14
	fieldType     = 15

	fieldMessageType     = 1
	fieldSocketFamily    = 2
	fieldSocketProtocol  = 3
	fieldQueryAddress    = 4
	fieldResponseAddress = 5
	fieldQueryPort       = 6
	fieldResponsePort    = 7
	fieldQuerySec        = 8
	fieldQueryNsec       = 9
	fieldQueryMessage    = 10
	fieldQueryZone       = 11
	fieldResponseSec     = 12
	fieldResponseNsec    = 13
	fieldResponseMessage = 14

	typeMessage      = 1
	typeAuthQuery    = 1
	typeAuthResponse = 2
	familyIPv4       = 1
	familyIPv6       = 2
)

// Wire types of protobuf (protobuf.dev, "Encoding").
const (
	wireVarint  = 0
	wireBytes   = 2
	wireFixed32 = 5
)

// Messages says which messages go to dnstap.
type Messages string

// The choices.
const (
	Responses Messages = "responses" // AUTH_RESPONSE
	Queries   Messages = "queries"   // AUTH_QUERY
	Both      Messages = "both"      // each query and then its response
)

// dnstap encodes events as frames of a Frame Stream.
type dnstap struct {
	identity, version string
	messages          Messages
	zone              func(name []byte) []byte // the apex above a name, both on the wire
	inner             []byte                   // of the message being built
}

// append adds an event's messages to b, each with its length before it, as data frames.
func (d *dnstap) append(b []byte, e *Event) []byte {
	if d.messages != Responses {
		b = d.frame(b, e, typeAuthQuery)
	}
	if d.messages != Queries {
		b = d.frame(b, e, typeAuthResponse)
	}
	return b
}

func (d *dnstap) frame(b []byte, e *Event, kind uint64) []byte {
	d.inner = d.message(d.inner[:0], e, kind)
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	if d.identity != "" {
		b = appendBytes(b, fieldIdentity, d.identity)
	}
	if d.version != "" {
		b = appendBytes(b, fieldVersion, d.version)
	}
	b = appendBytes(b, fieldMessage, d.inner)
	b = appendVarint(b, fieldType, typeMessage)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// message is the Message of a query, or of a response, which leaves the query's octets to the
// former: its question and client subnet are in the response too.
func (d *dnstap) message(b []byte, e *Event, kind uint64) []byte {
	b = appendVarint(b, fieldMessageType, kind)
	client, server := e.Client.Addr().Unmap(), e.Server.Addr().Unmap()
	family := uint64(familyIPv6)
	if client.Is4() {
		family = familyIPv4
	}
	b = appendVarint(b, fieldSocketFamily, family)
	b = appendVarint(b, fieldSocketProtocol, uint64(e.Proto))
	b = appendAddress(b, fieldQueryAddress, client)
	b = appendAddress(b, fieldResponseAddress, server)
	b = appendPort(b, fieldQueryPort, e.Client.Port())
	b = appendPort(b, fieldResponsePort, e.Server.Port())
	b = appendTime(b, fieldQuerySec, fieldQueryNsec, e.At)
	if kind == typeAuthQuery {
		b = appendBytes(b, fieldQueryMessage, e.Query)
	}
	if zone := d.zone(questionName(e.Query)); zone != nil {
		b = appendBytes(b, fieldQueryZone, zone)
	}
	if kind == typeAuthResponse {
		b = appendTime(b, fieldResponseSec, fieldResponseNsec, e.Done)
		b = appendBytes(b, fieldResponseMessage, e.Answer)
	}
	return b
}

// questionName returns the name of a query's question on the wire; nil when it has none that can
// be read.
func questionName(query []byte) []byte {
	const header = 12
	for off := header; off < len(query); {
		n := int(query[off])
		off += 1 + n
		switch {
		case n > 63:
			return nil
		case n == 0:
			return query[header:off]
		}
	}
	return nil
}

func appendTag(b []byte, field, wire uint64) []byte {
	return binary.AppendUvarint(b, field<<3|wire)
}

func appendVarint(b []byte, field, v uint64) []byte {
	return binary.AppendUvarint(appendTag(b, field, wireVarint), v)
}

func appendBytes[T string | []byte](b []byte, field uint64, v T) []byte {
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(len(v)))
	return append(b, v...)
}

func appendAddress(b []byte, field uint64, a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return b
	case a.Is4():
		raw := a.As4()
		return appendBytes(b, field, raw[:])
	}
	raw := a.As16()
	return appendBytes(b, field, raw[:])
}

func appendPort(b []byte, field uint64, port uint16) []byte {
	if port == 0 {
		return b
	}
	return appendVarint(b, field, uint64(port))
}

func appendTime(b []byte, sec, nsec uint64, t time.Time) []byte {
	b = appendVarint(b, sec, uint64(t.Unix()))
	b = appendTag(b, nsec, wireFixed32)
	return binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
}
