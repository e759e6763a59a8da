package geo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Limits of a file of country data: on disk, and unpacked.
const (
	maxFile     = 512 << 20
	maxUnpacked = 512 << 20
)

// Open reads a file of country data, in any of the forms that Read takes. It reads the whole
// file at once, so the file may be replaced or rewritten afterwards. The data is as old as the
// file, unless its packed form says another day.
func Open(path string) (*Locator, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening country data: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening country data: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading country data from %s: %w", path, err)
	}
	l, err := Read(raw, "file "+filepath.Base(path), info.ModTime())
	if err != nil {
		return nil, fmt.Errorf("reading country data from %s: %w", path, err)
	}
	return l, nil
}

// Read reads geo data: an MMDB (see readMMDB), the packed form that Pack writes, or text with one range on a line,
// first and last address and then the country's code, parted by commas or tabs. With tabs the
// code may also be the fourth column, behind an AS number, which counts then; further columns
// don't. A line
// with the code "None" or "ZZ", or without one, belongs to no country. Either form may be
// packed with gzip. The origin and the day are for what Read can't see in the data.
func Read(raw []byte, origin string, day time.Time) (*Locator, error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		var err error
		if raw, err = gunzip(raw, maxUnpacked); err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
	}
	switch {
	case bytes.HasPrefix(raw, []byte(magic)), bytes.HasPrefix(raw, []byte(magicASN)):
		return unpack(raw)
	case bytes.Contains(raw, []byte(mmdbMark)):
		return readMMDB(raw, origin)
	}
	return readText(raw, origin, day)
}

func readText(raw []byte, origin string, day time.Time) (*Locator, error) {
	var b Builder
	number := 0
	for line := range bytes.Lines(raw) {
		number++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		first, last, country, asn, err := parseLine(text)
		if err == nil && country != "" {
			err = b.Add(first, last, country)
		}
		if err == nil && asn != 0 {
			err = b.AddASN(first, last, asn)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return b.Build(origin, day, nil)
}

// parseLine reads one line of text. No country is "", and no AS 0.
func parseLine(text string) (first, last netip.Addr, country string, asn uint32, err error) {
	comma := ","
	if strings.Contains(text, "\t") {
		comma = "\t"
	}
	fields := strings.SplitN(text, comma, 5)
	for i := range fields {
		fields[i] = strings.Trim(strings.TrimSpace(fields[i]), `"`)
	}
	if len(fields) < 3 {
		return first, last, "", 0, errors.New("has no first address, last address and country")
	}
	if first, err = netip.ParseAddr(fields[0]); err != nil {
		return first, last, "", 0, err
	}
	if last, err = netip.ParseAddr(fields[1]); err != nil {
		return first, last, "", 0, err
	}
	country = fields[2]
	if n, err := strconv.ParseUint(country, 10, 32); err == nil && len(fields) > 3 {
		country, asn = fields[3], uint32(n)
	}
	switch country {
	case "None", "ZZ", "-":
		country = ""
	}
	return first, last, country, asn, nil
}
