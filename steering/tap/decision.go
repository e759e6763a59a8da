package tap

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"pointsman/steering"
	"pointsman/steering/wire"
)

// DecisionConfig says where decisions go.
type DecisionConfig struct {
	// File gets a line for each sampled answer with a decision in it; an absolute path. Beside it,
	// the folder File.tables gets a file for each table.
	File string
	// Sample writes one such answer of so many, at least 1, exactly, for each goroutine.
	Sample int
	Client Client // "": FullClient
	// MaxSize is where the file is put aside, in bytes, 0: 100 MiB; Keep how many of those stay,
	// 0: 5.
	MaxSize int64
	Keep    int
	Tables  int // how many files of tables stay; 0: 200
}

// Client says how much of a client a line of the decision log tells.
type Client string

// The choices.
const (
	FullClient   Client = "full"   // the prefix that the decision was for
	ClientPrefix Client = "prefix" // no more of it than /24 or /56, as a resolver would send
	NoClient     Client = "none"   // nothing
)

// The prefix lengths of ClientPrefix (RFC 7871 §11.1).
const (
	prefixBits4 = 24
	prefixBits6 = 56
)

// shorten returns what of a client may be told.
func (c Client) shorten(client netip.Prefix) netip.Prefix {
	if c == FullClient {
		return client
	}
	if c == NoClient || !client.IsValid() {
		return netip.Prefix{}
	}
	most := prefixBits6
	if client.Addr().Is4() {
		most = prefixBits4
	}
	short, err := client.Addr().Prefix(min(client.Bits(), most))
	if err != nil {
		return netip.Prefix{}
	}
	return short
}

// decisions encodes events as lines of JSON.
type decisions struct {
	client Client
	tables *tables
	sample int
	query  wire.Query
}

// append adds an event's line to b. The decisions are made once more, by the table and the draws
// of the event: picking is pure, so they are those of the answer.
func (d *decisions) append(b []byte, e *Event) []byte {
	d.tables.save(e.Table)
	first := e.Picks[0]
	made := pick(e, e.Prefix, first)
	client := d.client.shorten(e.Prefix)
	place, _ := e.Table.Place(first.Host, e.Prefix)

	b = append(b, `{"time":"`...)
	b = e.At.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendUint(b, "worker", uint64(e.worker))
	b = appendUint(b, "seq", e.seq)
	b = appendUint(b, "dropped", e.dropped)
	b = appendUint(b, "sample", uint64(d.sample))
	b = appendText(b, "proto", e.Proto.String())
	b = appendText(b, "host", first.Host)
	b = appendText(b, "qtype", typeName(e.Type))
	b = appendBool(b, "do", e.DO)
	if client.IsValid() {
		b = appendText(b, "client", client.String())
	}
	source := "resolver"
	if e.ECS {
		source = "ecs"
	}
	b = appendText(b, "client_source", source)
	b = appendText(b, "draw", hexDraw(first.Draw))
	b = appendUint(b, "table_version", e.Table.Version)
	b = appendText(b, "table_hash", e.Table.Hash)
	b = appendDecision(b, &made)
	if place != "" {
		b = appendText(b, "place", place)
	}
	b = appendUint(b, "scope", uint64(scopeOf(e)))
	b = appendUint(b, "ttl", uint64(made.TTL))
	if len(e.Answer) > 3 {
		b = appendText(b, "rcode", codeName(e.Answer[3]&0xF))
	}
	b = d.appendThen(b, e)
	b = appendBool(b, "exact", d.exact(e, client))
	if d.tells(e.Query, client) {
		b = appendText(b, "query", base64.StdEncoding.EncodeToString(e.Query))
		sum := sha256.Sum256(e.Answer)
		b = appendText(b, "answer_sha256", hex.EncodeToString(sum[:]))
		b = restOf(e.Answer).append(b)
	}
	return append(b, '}', '\n')
}

// scopeOf is the scope of the answer: that of its narrowest decision (RFC 7871 §7.2.1).
func scopeOf(e *Event) (scope uint8) {
	for _, p := range e.Picks {
		scope = max(scope, pick(e, e.Prefix, p).Scope)
	}
	return scope
}

// appendThen adds the further decisions, of steered names that the first one's answer led to.
func (d *decisions) appendThen(b []byte, e *Event) []byte {
	if len(e.Picks) == 1 {
		return b
	}
	b = append(b, `,"then":[`...)
	for i, p := range e.Picks[1:] {
		if i > 0 {
			b = append(b, ',')
		}
		made := pick(e, e.Prefix, p)
		b = append(b, `{"host":`...)
		b = appendQuoted(b, p.Host)
		b = appendText(b, "draw", hexDraw(p.Draw))
		b = append(appendDecision(b, &made), '}')
	}
	return append(b, ']')
}

// exact reports whether the decisions follow from the client as the line tells it.
func (d *decisions) exact(e *Event, client netip.Prefix) bool {
	if client == e.Prefix {
		return true
	}
	for _, p := range e.Picks {
		told, made := pick(e, client, p), pick(e, e.Prefix, p)
		if told.Backend != made.Backend || told.Pool != made.Pool || told.Scope != made.Scope ||
			told.Reason != made.Reason || told.TTL != made.TTL {
			return false
		}
	}
	at, _ := e.Table.Place(e.Picks[0].Host, client)
	place, _ := e.Table.Place(e.Picks[0].Host, e.Prefix)
	return at == place
}

// tells reports whether a query may stand in the line as it came: unless clients are told in
// full, it must hold nothing of the client but what client says. Options other than a client
// subnet, such as cookies, can tell one client from all others.
func (d *decisions) tells(query []byte, client netip.Prefix) bool {
	if d.client == FullClient {
		return true
	}
	q := &d.query
	if !q.Read(query) || q.Client.IsValid() && q.Client != client {
		return false
	}
	// Header, question, OPT, the subnet's option (RFC 7871 §6): if that is all, nothing else is in.
	size := 12 + len(q.Name()) + 4
	if q.EDNS {
		size += 11
	}
	if q.Client.IsValid() {
		size += 8 + (q.Client.Bits()+7)/8
	}
	return size == len(query)
}

func pick(e *Event, client netip.Prefix, p Pick) steering.Decision {
	made, _ := e.Table.Pick(steering.Query{Host: p.Host, Client: client, Draw: p.Draw})
	return made
}

// hexDraw is a draw as text, which numbers of JSON don't hold everywhere.
func hexDraw(draw uint64) string {
	text := strconv.FormatUint(draw, 16)
	return "0000000000000000"[len(text):] + text
}

func appendDecision(b []byte, d *steering.Decision) []byte {
	b = appendText(b, "backend", d.Backend)
	b = appendText(b, "pool", d.Pool)
	return appendText(b, "reason", string(d.Reason))
}

func appendKey(b []byte, key string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	return append(b, `":`...)
}

func appendUint(b []byte, key string, v uint64) []byte {
	return strconv.AppendUint(appendKey(b, key), v, 10)
}

func appendBool(b []byte, key string, v bool) []byte {
	return strconv.AppendBool(appendKey(b, key), v)
}

func appendText(b []byte, key, v string) []byte {
	return appendQuoted(appendKey(b, key), v)
}

// appendQuoted adds a text; most have nothing to be escaped.
func appendQuoted(b []byte, v string) []byte {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c >= 0x7F || c == '"' || c == '\\' {
			quoted, err := json.Marshal(v)
			if err != nil {
				return append(b, `""`...) // a string always marshals
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, v...)
	return append(b, '"')
}
