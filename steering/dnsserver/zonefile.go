package dnsserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Bounds of a zone's files, all together.
const (
	// MaxZoneFile is the most that a zone's file and all that it includes may have, in bytes.
	MaxZoneFile = 64 << 20
	// maxIncluded is how many files may be included, maxDepth how deeply.
	maxIncluded = 1000
	maxDepth    = 8
	// maxEntry is the longest record, in bytes: its data may have 65,535 octets, each of which
	// may be written as four characters.
	maxEntry = 5 * 65536
	// maxFileMistakes is how many mistakes are listed before the file is given up.
	maxFileMistakes = 100
)

// ZoneFile is a zone file (RFC 1035 §5) that was read, but not parsed. Besides records it may
// hold $ORIGIN, $TTL (RFC 2308 §4) and $INCLUDE. A record without a TTL has that of $TTL, else
// that of the record before which had one, else the zone's. Names are relative to the origin,
// which is the zone's name at first.
type ZoneFile struct {
	// Name is what mistakes call the file.
	Name string
	// Data is its content.
	Data []byte
	// Folder is where included files are found: the one that the file is in. Names are relative
	// to the file that includes. Nil: nothing can be included.
	Folder fs.FS
	// NoSOA refuses a SOA record in the file, because the config has given one.
	NoSOA bool
}

// zoneFiles is what a parser knows of the files that it reads.
type zoneFiles struct {
	names  []string // of the file and those included
	sum    hash.Hash
	bytes  int
	halted bool
}

// file adds the records of the zone's file.
func (p *parser) file() {
	f := p.c.File
	if f == nil {
		return
	}
	p.sum = sha256.New()
	p.z.bulk = newBulk(p.z.name, bytes.Count(f.Data, []byte("\n")))
	r := fileReader{p: p, folder: f.Folder, open: []string{path.Base(f.Name)}, origin: p.z.name, ttl: p.ttl}
	r.read(f.Name, ".", f.Data)
	p.z.bulk.clip()
	p.z.digest = hex.EncodeToString(p.sum.Sum(nil))
}

// fileReader reads one file.
type fileReader struct {
	p      *parser
	folder fs.FS
	dir    string // the file's, in folder
	// open are this file and those that include it, in folder, the first one first.
	open []string
	data []byte
	pos  int
	line int // of data[pos]
	at   spot
	// origin and owner are canonical; owner is empty before the first record.
	origin, owner string
	// ttl is that of records which say none; with pinned it comes from $TTL.
	ttl    uint32
	pinned bool
	// fast is scratch for names; lead is the parent of the last name that the bulk got.
	fast []byte
	lead string
}

func (r *fileReader) mistake(format string, args ...any) {
	r.p.mistakeAt(r.at, "", format, args...)
	if len(r.p.mistakes) >= maxFileMistakes && !r.p.halted {
		r.p.halted = true
		r.p.mistakeAt(spot{file: r.at.file, line: r.at.line}, "",
			"too many mistakes: the rest of the file was not read")
	}
}

// read reads a file to its end.
func (r *fileReader) read(name, dir string, data []byte) {
	p := r.p
	r.at = spot{file: uint16(len(p.names))}
	p.names = append(p.names, name)
	if p.bytes += len(data); p.bytes > MaxZoneFile {
		r.mistake("the zone's files are larger than %d MiB together", MaxZoneFile>>20)
		p.halted = true
		return
	}
	fmt.Fprintf(p.sum, "%d:", len(data)) // a hash never fails
	p.sum.Write(data)
	r.dir, r.data, r.pos, r.line = dir, bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")), 0, 1
	for !p.halted && r.pos < len(r.data) {
		if n := r.quick(r.data[r.pos:]); n > 0 {
			r.pos += n
			r.line++
			continue
		}
		r.at.line = r.line
		e, err := r.next()
		if err == nil && !e.blank() {
			err = r.take(e)
		}
		if err != nil {
			r.mistake("%v", err)
		}
	}
}

// take reads a directive or a record.
func (r *fileReader) take(e fileEntry) error {
	if !e.owned || !strings.HasPrefix(e.words[0], "$") {
		return r.record(e)
	}
	words := e.words[1:]
	if e.rest != "" {
		words = append(slices.Clone(words), strings.Fields(e.rest)...)
	}
	switch directive := strings.ToUpper(e.words[0]); directive {
	case "$ORIGIN":
		if len(words) != 1 {
			return errors.New("$ORIGIN takes one name")
		}
		origin, err := r.absolute(words[0])
		if err != nil {
			return err
		}
		r.origin = origin
	case "$TTL":
		if len(words) != 1 {
			return errors.New("$TTL takes one time")
		}
		ttl, err := parseTTL(words[0])
		if err != nil {
			return err
		}
		r.ttl, r.pinned = ttl, true
	case "$INCLUDE":
		return r.include(words)
	case "$GENERATE":
		return errors.New("$GENERATE, an extension of BIND, isn't supported: write the records out")
	default:
		return fmt.Errorf("%q is no directive; there are $ORIGIN, $TTL and $INCLUDE", directive)
	}
	return nil
}

// include reads another file in the place of the directive. Origin, owner and TTL of this file
// stay as they are (RFC 1035 §5.1).
func (r *fileReader) include(words []string) error {
	if len(words) < 1 || len(words) > 2 {
		return errors.New("$INCLUDE takes a file and, if need be, an origin")
	}
	sub := fileReader{p: r.p, folder: r.folder, origin: r.origin, ttl: r.ttl, pinned: r.pinned}
	if len(words) == 2 {
		var err error
		if sub.origin, err = r.absolute(words[1]); err != nil {
			return err
		}
	}
	written := strings.Trim(words[0], `"`)
	name := path.Join(r.dir, written)
	switch {
	case r.folder == nil:
		return errors.New("nothing can be included here")
	case path.IsAbs(written) || !fs.ValidPath(name):
		return fmt.Errorf("%q is not in the zone file's folder, which is all that can be included",
			written)
	case slices.Contains(r.open, name):
		return fmt.Errorf("$INCLUDE loop: %s → %s", strings.Join(r.open, " → "), name)
	case len(r.open) > maxDepth:
		return fmt.Errorf("included files include each other more than %d deep", maxDepth)
	case len(r.p.names) > maxIncluded:
		return fmt.Errorf("more than %d files are included", maxIncluded)
	}
	data, err := readWhole(r.folder, name)
	if err != nil {
		return fmt.Errorf("including %q: %w", written, err)
	}
	sub.open = append(slices.Clip(r.open), name)
	sub.read(path.Join(path.Dir(r.p.names[r.at.file]), written), path.Dir(name), data)
	return nil
}

// readWhole reads a regular file of no more than the most that a zone may have.
func readWhole(folder fs.FS, name string) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, reasonOf(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, reasonOf(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxZoneFile+1))
	return data, reasonOf(err)
}

// reasonOf takes the file's name, which the message has already, off an error.
func reasonOf(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// absolute makes a name of the file canonical.
func (r *fileReader) absolute(s string) (string, error) {
	if s == "@" {
		return r.origin, nil
	}
	if strings.ContainsAny(s, `"`) {
		return "", fmt.Errorf("%q is not a domain name", s)
	}
	if !dns.IsFqdn(s) {
		if s += "."; r.origin != "." {
			s += r.origin
		}
	}
	return normal(s)
}

// record reads a record that is no plain address.
func (r *fileReader) record(e fileEntry) error {
	words := e.words
	if e.owned {
		owner, err := r.absolute(words[0])
		if err != nil {
			return err
		}
		r.owner, words = owner, words[1:]
	}
	h, words, err := readHeader(words)
	switch {
	case err != nil:
		return err
	case r.owner == "":
		return errors.New("begins with a blank, and there is no record before it whose name it has")
	case !h.timed:
		h.ttl = r.ttl
	case !r.pinned:
		r.ttl = h.ttl
	}
	p := r.p
	if !under(r.owner, p.z.name) {
		return fmt.Errorf("%s is outside the zone %s", r.owner, p.z.name)
	}
	data := strings.TrimSpace(strings.Join(words, " ") + " " + e.rest)
	rtype, err := typeOf(h.rtype)
	if err != nil {
		return err
	}
	if rtype == dns.TypeSOA && r.owner != p.z.name {
		return errors.New("a SOA can't stand below the zone's apex")
	}
	rr, err := p.parse(p.header(r.owner, rtype, h.ttl), data, r.origin)
	if err != nil {
		return err
	}
	if soa, ok := rr.(*dns.SOA); ok {
		if p.c.File.NoSOA {
			return errors.New("the config has the zone's SOA: take one of the two away")
		}
		if p.soaRR != nil {
			return errors.New("the zone has a SOA already")
		}
		p.soaRR = soa
		p.places[soa] = r.at
		p.z.insert(soa)
		return nil
	}
	p.insert(r.at, rr)
	return nil
}
