// Package replay makes the decisions of a decision log again, and the answers that they led to,
// and compares. Lines and the files of tables flow in, a report flows out. One line is judged by
// pure functions; Run owns the goroutines, and has ended when they have.
package replay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"pointsman/steering"
)

// Line is a line of the decision log; docs/dns.md says what its keys mean. Keys that it doesn't
// name are left alone: a newer node may have written them.
type Line struct {
	Time    time.Time `json:"time"`
	Worker  int       `json:"worker"`
	Dropped uint64    `json:"dropped"`
	// Sample says that the line stands for so many answers; 0: it isn't told.
	Sample       uint64       `json:"sample"`
	Proto        string       `json:"proto"`
	Host         string       `json:"host"`
	DO           bool         `json:"do"`
	Client       netip.Prefix `json:"client"` // not valid: it isn't told
	ClientSource string       `json:"client_source"`
	TableVersion uint64       `json:"table_version"`
	TableHash    string       `json:"table_hash"`
	Place        string       `json:"place"`
	Scope        uint8        `json:"scope"`
	TTL          uint32       `json:"ttl"`
	Decided
	Then  []Further `json:"then"`
	Exact bool      `json:"exact"`

	Query        []byte  `json:"query"`
	AnswerSHA256 Octets  `json:"answer_sha256"`
	Serial       *uint32 `json:"serial"`
	Cookie       Octets  `json:"cookie"`
}

// Decided is what was decided, and by which draw.
type Decided struct {
	Draw    Draw            `json:"draw"`
	Backend string          `json:"backend"`
	Pool    string          `json:"pool"`
	Reason  steering.Reason `json:"reason"`
}

// Further is the decision about a steered name that another one's CNAME led to.
type Further struct {
	Host string `json:"host"`
	Decided
}

// Draw is a decision's randomness; in text it is 16 digits in hex.
type Draw uint64

// UnmarshalText reads a draw.
func (d *Draw) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	*d = Draw(n)
	return err
}

// Octets are written in hex.
type Octets []byte

// UnmarshalText reads octets.
func (o *Octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

// hashLength is that of a table's hash in hex, which is a name of a file too.
const hashLength = 64

// Parse reads a line. It refuses one that no decision can be made from.
func Parse(text []byte) (l Line, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&l); err != nil {
		return l, fmt.Errorf("it is no line of a decision log: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return l, errors.New("something follows the line's object")
	}
	if _, err := hex.DecodeString(l.TableHash); err != nil || len(l.TableHash) != hashLength {
		return l, fmt.Errorf("table_hash %q is no SHA-256 in hex", l.TableHash)
	}
	if l.Host == "" || l.Backend == "" {
		return l, errors.New("it names no host or no backend")
	}
	return l, nil
}

// draws are those that the answer took: a decision that needed none has 0.
func (l *Line) draws() []uint64 {
	var out []uint64
	add := func(d Draw) {
		if d != 0 {
			out = append(out, uint64(d))
		}
	}
	add(l.Draw)
	for _, f := range l.Then {
		add(f.Draw)
	}
	return out
}
