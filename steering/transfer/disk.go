package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// The first line of a copy on disk; the rest is a zone file.
const headerForm = "; pointsman copy 1 fetched %s signed %t sha256 %s"

// path is where a zone's copy lies. The zone's name must be one of plain labels.
func path(dir, zone string) string {
	return filepath.Join(dir, strings.TrimSuffix(zone, ".")+".zone")
}

// Load reads the copy of a zone, a canonical name, from a folder. Without one the error is a
// fs.ErrNotExist. One that is damaged is an error too.
func Load(dir, zone string) (*Copy, error) {
	f, err := os.Open(path(dir, zone))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	raw, err := io.ReadAll(io.LimitReader(f, MaxCopy+1024))
	if err != nil {
		return nil, err
	}
	c, err := decode(zone, raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	return c, nil
}

var errDamaged = errors.New("the copy is damaged")

func decode(zone string, raw []byte) (*Copy, error) {
	head, data, ok := bytes.Cut(raw, []byte("\n"))
	var fetched, sum string
	var signed bool
	if _, err := fmt.Sscanf(string(head), headerForm, &fetched, &signed, &sum); err != nil || !ok {
		return nil, errDamaged
	}
	have := sha256.Sum256(data)
	if hex.EncodeToString(have[:]) != sum {
		return nil, errDamaged
	}
	at, err := time.Parse(time.RFC3339, fetched)
	if err != nil {
		return nil, errDamaged
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	rr, err := dns.NewRR(string(first))
	soa, ok := rr.(*dns.SOA)
	if err != nil || !ok || soa.Hdr.Name != zone {
		return nil, errDamaged
	}
	return &Copy{Zone: zone, Serial: soa.Serial, Timers: timersOf(soa), Data: data, Signed: signed,
		Fetched: at}, nil
}

// save writes a copy: whole or not at all, also when the power goes.
func (c *Copy) save(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path(dir, c.Zone)+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // else the next save writes over it
		}
	}()
	sum := sha256.Sum256(c.Data)
	_, err = fmt.Fprintf(f, headerForm+"\n", c.Fetched.UTC().Format(time.RFC3339), c.Signed,
		hex.EncodeToString(sum[:]))
	if err == nil {
		_, err = f.Write(c.Data)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path(dir, c.Zone)); err != nil {
		return err
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// touch notes on disk that a copy was still the newest: the file's time is when its primary was
// last heard.
func touch(dir, zone string, at time.Time) error { return os.Chtimes(path(dir, zone), at, at) }

// heard returns when the primary was last heard, as far as is known on disk.
func heard(dir, zone string) time.Time {
	info, err := os.Stat(path(dir, zone))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
