package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"

	"pointsman/internal/config"
	"pointsman/steering"
	"pointsman/steering/dnsserver"
	"pointsman/steering/geo"
	"pointsman/steering/replay"
	"pointsman/steering/tap"
)

// stdin is how standard input is named among files.
const stdin = "-"

// Logs are decision logs, and where what they refer to lies.
type Logs struct {
	Files []string  // "-" is In
	In    io.Reader // nil: nothing
	// Tables is the folder with the tables' files; empty: the one beside each file.
	Tables string
	// Country is a file of country data; empty: that of the config, or the built-in data.
	Country string
}

// ReplayOptions say what Replay does.
type ReplayOptions struct {
	Logs
	// Config is the one that the answers were given by, for their octets; nil: decisions alone
	// are made again.
	Config      *Options
	Host, Table string // see replay.Config
	Shown       int
	Done        *replay.Progress
}

// Replay makes the decisions of logs again, and with a config the answers, and compares. A config
// that is refused is an ErrConfig.
func Replay(ctx context.Context, o ReplayOptions) (*replay.Report, error) {
	c, repeat, err := o.repeat()
	if err != nil {
		return nil, err
	}
	sources, closing, err := o.open(c)
	if err != nil {
		return nil, err
	}
	rc := replay.Config{Repeat: repeat, Table: o.Table, Shown: o.Shown, Done: o.Done}
	if o.Host != "" {
		rc.Host = fqdn(o.Host)
	}
	report, err := replay.Run(ctx, rc, sources)
	return report, errors.Join(err, closing.close())
}

// Retold is one line of a decision log, made again.
type Retold struct {
	Line     replay.Line
	Judged   replay.Judged
	Explains []steering.Explanation // of each of its decisions
}

// Retell makes one line of one log again, the n-th from 1, and says why it came out so.
func Retell(o ReplayOptions, n int) (*Retold, error) {
	c, repeat, err := o.repeat()
	if err != nil {
		return nil, err
	}
	sources, closing, err := o.open(c)
	if err != nil {
		return nil, err
	}
	got, err := retell(sources[0], repeat, n)
	return got, errors.Join(err, closing.close())
}

func retell(from replay.Source, repeat replay.Repeat, n int) (*Retold, error) {
	l, err := replay.Nth(from.Reader, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Name, err)
	}
	table, err := from.Tables.Table(l.TableHash)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", from.Name, n, err)
	}
	got := &Retold{Line: l, Judged: replay.Judge(&l, table, repeat)}
	hosts, draws := []string{l.Host}, []replay.Draw{l.Draw}
	for _, f := range l.Then {
		hosts, draws = append(hosts, f.Host), append(draws, f.Draw)
	}
	for i, host := range hosts {
		if e, ok := steering.Explain(table, host, l.Client, uint64(draws[i]), l.Time); ok {
			got.Explains = append(got.Explains, e)
		}
	}
	return got, nil
}

// repeat makes what makes answers again; nil without a config.
func (o *ReplayOptions) repeat() (*config.Config, replay.Repeat, error) {
	if o.Config == nil {
		return nil, nil, nil
	}
	c, report, err := o.Config.load()
	if err != nil {
		return nil, nil, err
	}
	in, err := convert(c, report)
	if err != nil {
		return nil, nil, err
	}
	r, err := repeaterOf(c, in)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: dns: %w", ErrConfig, err)
	}
	return c, repeating(r), nil
}

// repeaterOf makes what repeats the answers of a node with this config.
func repeaterOf(c *config.Config, in *inputs) (*dnsserver.Repeater, error) {
	var signed []string
	for i, z := range in.zones {
		if c.Zones[i].DNSSEC != nil {
			signed = append(signed, z.Name())
		}
	}
	return dnsserver.NewRepeater(dnsserver.Config{Zones: in.zones, NSID: c.DNS.NSID,
		Version: c.DNS.Version, ReportAgent: c.DNS.ReportAgent, TCPIdle: c.DNS.TCP.Idle,
		Amplification: dnsserver.Amplification(c.DNS.Amplification)}, signed)
}

// repeating turns lines into what a Repeater takes.
func repeating(r *dnsserver.Repeater) replay.Repeat {
	protos := map[string]tap.Proto{tap.UDP.String(): tap.UDP, tap.TCP.String(): tap.TCP,
		tap.DOT.String(): tap.DOT}
	// Lines that follow each other mostly have one table.
	type last struct {
		table *steering.Table
		*dnsserver.Repeated
	}
	var lately atomic.Pointer[last]
	return func(table *steering.Table, l *replay.Line, draws []uint64) (bool, error) {
		proto, ok := protos[l.Proto]
		if !ok || len(l.AnswerSHA256) != sha256.Size {
			return false, errors.New("its transport or its hash is none that is known")
		}
		with := lately.Load()
		if with == nil || with.table != table {
			with = &last{table, r.With(table)}
			lately.Store(with)
		}
		return with.Same(dnsserver.Given{Query: l.Query, Proto: proto, Client: l.Client,
			Draws: draws, Serial: l.Serial, Cookie: l.Cookie}, [sha256.Size]byte(l.AnswerSHA256))
	}
}

// rotated is the number that a file gets when it is put aside.
var rotated = regexp.MustCompile(`\.[0-9]+$`)

// open opens the logs, in their order. c may be nil.
func (o *Logs) open(c *config.Config) ([]replay.Source, *closers, error) {
	wants, closing := geo.Wants{Country: true}, &closers{}
	if c != nil {
		wants, _ = geoWants(c)
	}
	if o.Country != "" {
		wants.Files = []string{o.Country}
	}
	countries := func() (*geo.Locator, error) {
		d, err := geo.Load(wants)
		return d.Locator, err
	}
	var sources []replay.Source
	tables := make(map[string]*replay.Tables) // by folder
	for _, name := range o.Files {
		dir := o.Tables
		if dir == "" {
			dir = rotated.ReplaceAllString(name, "") + ".tables"
		}
		if tables[dir] == nil {
			tables[dir] = replay.NewTables(replay.TablesConfig{Load: loadFrom(dir),
				Countries: countries})
		}
		from := replay.Source{Name: name, Reader: o.In, Tables: tables[dir]}
		if name != stdin {
			f, err := os.Open(name)
			if err != nil {
				return nil, nil, errors.Join(err, closing.close())
			}
			closing.push(f.Close)
			from.Reader = f
		}
		sources = append(sources, from)
	}
	return sources, closing, nil
}

// loadFrom reads tables' files of a folder.
func loadFrom(dir string) func(hash string) ([]byte, error) {
	return func(hash string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(dir, hash+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s has no file of it (dns.decision_log.tables says how many "+
				"stay)", dir)
		}
		return data, err
	}
}

// Size is how many octets the files have together; 0: standard input is among them.
func (o *Logs) Size() (n int64) {
	for _, name := range o.Files {
		info, err := os.Stat(name)
		if name == stdin || err != nil || !info.Mode().IsRegular() {
			return 0
		}
		n += info.Size()
	}
	return n
}
