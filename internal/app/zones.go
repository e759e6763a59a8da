package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pointsman/internal/config"
	"pointsman/steering/dnsserver"
)

// zonesOf parses the zones and their files. Each mistake carries its path in the config, or its
// line in a file.
func zonesOf(c *config.Config, src *config.Source, serial uint32, from sources) (
	zones []*dnsserver.Zone, got received, bad []pathMistake,
) {
	got = make(received)
	for i, z := range c.Zones {
		at := fmt.Sprintf("zones[%d]", i)
		if z.Primary != nil {
			zone, err := got.zone(c, z, from)
			if err != nil {
				bad = append(bad, complaint(at+".primary", err.Error()))
			}
			zones = append(zones, zone)
			continue
		}
		serial, before := serial, from.zones[fqdn(z.Name)]
		if z.DNSSEC != nil && z.DNSSEC.Mode != config.SignLocal {
			serial, before = 0, nil // it comes with the signatures, the same for all nodes
		}
		zone, mistakes, err := zoneOf(z, src, at, serial, before)
		if err != nil {
			bad = append(bad, complaint(at+".file", err.Error()))
		}
		for _, m := range mistakes {
			bad = append(bad, pathMistake{path: at + "." + m.Path, message: m.Message,
				file: m.File, line: m.Line})
		}
		zones = append(zones, zone)
	}
	return zones, got, bad
}

// zoneOf parses the zone at a path of the config.
func zoneOf(z config.Zone, src *config.Source, at string, serial uint32, before *dnsserver.Zone) (
	*dnsserver.Zone, []dnsserver.Mistake, error,
) {
	zc := dnsserver.ZoneConfig{Name: fqdn(z.Name), TTL: z.TTL, NS: absolute(z.NS, z.Name),
		SOA: dnsserver.SOA{
			MBox: fqdn(z.SOA.Mbox), Serial: serial,
			Refresh: z.SOA.Refresh, Retry: z.SOA.Retry, Expire: z.SOA.Expire,
			NegativeTTL: z.SOA.NegativeTTL,
		}, Before: before, Rising: z.Transfer != nil, Signed: z.DNSSEC != nil}
	var places []int
	zc.Records, places = recordsOf(z)
	if z.File != "" {
		file, folder, err := readZoneFile(z.File)
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = folder.Close() }() // it was only read
		_, file.NoSOA = src.Locate(at + ".soa")
		zc.File = file
	}
	zone, mistakes := dnsserver.ParseZone(zc)
	for i := range mistakes {
		mistakes[i].Path = recordPath(mistakes[i].Path, places)
	}
	return zone, mistakes, nil
}

// readZoneFile reads a zone file. Included files are found in the folder until that is closed;
// neither ".." nor a symbolic link leads out of it.
func readZoneFile(name string) (*dnsserver.ZoneFile, *os.Root, error) {
	folder, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be read: %w", cause(err))
	}
	data, err := readRegular(name)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cannot be read: %w", cause(err)), folder.Close())
	}
	return &dnsserver.ZoneFile{Name: name, Data: data, Folder: folder.FS()}, folder, nil
}

// readRegular reads a regular file, as far as a zone may go and a byte more.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	most := min(info.Size(), dnsserver.MaxZoneFile) + 1
	data := make([]byte, most)
	n, err := io.ReadFull(f, data)
	if n == len(data) && info.Size() < dnsserver.MaxZoneFile {
		return nil, errors.New("it is being written")
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}

// cause is an error without the file's name, which the finding has already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
