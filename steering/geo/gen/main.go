// Command gen makes the tables that are built into package geo. Two lists of ranges flow in, one
// for each family; the packed table flows out. Or a list of settlements flows in and the centres
// of countries flow out. It owns no goroutine. README.md beside it says where the lists come from.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"pointsman/steering/geo"
)

func main() {
	v4 := flag.String("v4", "", "list of IPv4 ranges: first address, last address, country or AS number")
	v6 := flag.String("v6", "", "list of IPv6 ranges")
	day := flag.String("date", "", "day of the data, as in 2026-06-17")
	origin := flag.String("origin", "Number Resource Organization, CC BY 4.0",
		"where the data comes from, with its licence")
	out := flag.String("out", "steering/geo/data/country.geo", "file to write")
	cities := flag.String("cities", "", "list of settlements, for centres in place of a table")
	flag.Parse()
	if *cities != "" {
		if err := centres(*cities, *out, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*v4, *v6, *day, *origin, *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run reads both lists, packs them and says what came of it.
func run(v4, v6, day, origin, out string, w io.Writer) error {
	if v4 == "" || v6 == "" {
		return errors.New("both -v4 and -v6 are needed")
	}
	date, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return fmt.Errorf("parsing -date: %w", err)
	}
	var b geo.Builder
	rows := 0
	for _, path := range []string{v4, v6} {
		n, err := read(&b, path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		rows += n
	}
	l, err := b.Build(origin, date, geo.SpecialPurpose())
	if err != nil {
		return fmt.Errorf("building the table: %w", err)
	}
	var packed bytes.Buffer
	if err := l.Pack(&packed); err != nil {
		return err
	}
	if err := os.WriteFile(out, packed.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	ranges4, ranges6 := l.Ranges()
	fmt.Fprintf(w, "%d rows became %d IPv4 and %d IPv6 ranges of %d countries in %d bytes\n",
		rows, ranges4, ranges6, len(l.Countries()), packed.Len())
	return nil
}

// read adds the ranges of a list and returns how many rows it had.
func read(b *geo.Builder, path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rows := 0
	for lines := bufio.NewScanner(f); ; rows++ {
		if !lines.Scan() {
			return rows, lines.Err()
		}
		fields := strings.SplitN(lines.Text(), ",", 4) // the fourth is an AS's name
		if len(fields) < 3 {
			return rows, fmt.Errorf("line %d: %d fields, want 3", rows+1, len(fields))
		}
		first, err1 := netip.ParseAddr(fields[0])
		last, err2 := netip.ParseAddr(fields[1])
		if err := errors.Join(err1, err2); err != nil {
			return rows, fmt.Errorf("line %d: %w", rows+1, err)
		}
		add := func() error { return b.Add(first, last, fields[2]) }
		if asn, err := strconv.ParseUint(fields[2], 10, 32); err == nil {
			add = func() error { return b.AddASN(first, last, uint32(asn)) }
		}
		if err := add(); err != nil {
			return rows, fmt.Errorf("line %d: %w", rows+1, err)
		}
	}
}
