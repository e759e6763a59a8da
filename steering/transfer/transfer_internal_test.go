package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"pointsman/steering/tsig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apex = "example.test."

func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rrs(t *testing.T, texts ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, s := range texts {
		out = append(out, rr(t, s))
	}
	return out
}

func soa(serial uint32) string {
	return fmt.Sprintf("%s 60 IN SOA ns1.%s hostmaster.%s %d 3600 600 86400 30", apex, apex, apex, serial)
}

// assembled puts records together, and tells the mistake.
func assembled(t *testing.T, have *Copy, texts ...string) (*Copy, error) {
	t.Helper()
	a := assembler{zone: apex, have: have}
	for _, r := range rrs(t, texts...) {
		if err := a.add(r); err != nil {
			return nil, err
		}
	}
	return a.copy()
}

func whole(t *testing.T, serial uint32, records ...string) *Copy {
	t.Helper()
	texts := append(append([]string{soa(serial)}, records...), soa(serial))
	c, err := assembled(t, nil, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lines(c *Copy) []string {
	return strings.Split(strings.ReplaceAll(strings.TrimSpace(string(c.Data)), "\t", " "), "\n")[1:]
}

func TestAWholeZoneIsPutTogetherWithoutItsSignatures(t *testing.T) {
	c := whole(t, 7, "WWW.example.test. 60 IN A 192.0.2.1", "www.example.test. 60 IN A 192.0.2.1",
		apex+" 60 IN NS ns1."+apex)
	if d := cmp.Diff([]string{"www.example.test. 60 IN A 192.0.2.1",
		apex + " 60 IN NS ns1." + apex}, lines(c)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if c.Serial != 7 || c.Signed || c.Timers != (Timers{time.Hour, 10 * time.Minute, 24 * time.Hour}) {
		t.Errorf("%+v", c)
	}
	signed := whole(t, 7, "www.example.test. 60 IN A 192.0.2.1",
		"www.example.test. 60 IN NSEC example.test. A NSEC", "example.test. 60 IN ZONEMD 7 1 1 "+
			strings.Repeat("ab", 48))
	if !signed.Signed || len(lines(signed)) != 1 {
		t.Errorf("signed %v: %q", signed.Signed, lines(signed))
	}
}

func TestChangesAreAppliedInTheirOrder(t *testing.T) {
	have := whole(t, 1, "a.example.test. 60 IN A 192.0.2.1", "b.example.test. 60 IN A 192.0.2.2")
	c, err := assembled(t, have, soa(3),
		soa(1), "a.example.test. 60 IN A 192.0.2.1", soa(2), "c.example.test. 60 IN A 192.0.2.3",
		soa(2), "C.example.test. 60 IN A 192.0.2.3", "b.example.test. 60 IN A 192.0.2.2",
		soa(3), "b.example.test. 90 IN A 192.0.2.2", soa(3))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"b.example.test. 90 IN A 192.0.2.2"}, lines(c)); d != "" || c.Serial != 3 {
		t.Errorf("serial %d (-want +got):\n%s", c.Serial, d)
	}
	// The answer to IXFR may be the whole zone (RFC 1995 §4).
	if c, err = assembled(t, have, soa(3), "d.example.test. 60 IN A 192.0.2.4", soa(3)); err != nil ||
		len(lines(c)) != 1 {
		t.Errorf("a whole zone: %v", err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	have := whole(t, 1, "a.example.test. 60 IN A 192.0.2.1")
	for name, c := range map[string]struct {
		have  *Copy
		texts []string
	}{
		"no SOA first":          {nil, []string{"a.example.test. 60 IN A 192.0.2.1"}},
		"no end":                {nil, []string{soa(1), "a.example.test. 60 IN A 192.0.2.1"}},
		"another SOA":           {nil, []string{soa(1), soa(2)}},
		"outside":               {nil, []string{soa(1), "a.example.org. 60 IN A 192.0.2.1", soa(1)}},
		"a SOA below":           {nil, []string{soa(1), "sub." + soa(1), soa(1)}},
		"another class":         {nil, []string{soa(1), "a.example.test. 60 CH A 192.0.2.1", soa(1)}},
		"behind the end":        {nil, []string{soa(1), soa(1), soa(1)}},
		"goes what isn't there": {have, []string{soa(2), soa(1), "x.example.test. 60 IN A 192.0.2.1", soa(2), soa(2)}},
		"comes what is there": {have, []string{soa(2), soa(1), soa(2),
			"a.example.test. 60 IN A 192.0.2.1", soa(2)}},
		"a gap": {have, []string{soa(4), soa(1), soa(2), soa(3), soa(4), soa(4)}},
		"no end of changes": {have, []string{soa(2), soa(1), "a.example.test. 60 IN A 192.0.2.1",
			soa(2)}},
	} {
		if got, err := assembled(t, c.have, c.texts...); err == nil {
			t.Errorf("%s: became %q", name, got.Data)
		}
	}
}

func TestACopyComesBackFromDiskOrNotAtAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "zones")
	if _, err := Load(dir, apex); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a copy: %v", err)
	}
	c := whole(t, 7, "www.example.test. 60 IN TXT \"a;b\" \"\\\"\"")
	c.Fetched = time.Unix(1_800_000_000, 0).UTC()
	if err := c.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir, apex)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	raw, err := os.ReadFile(path(dir, apex))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range raw {
		if _, err := decode(apex, raw[:cut]); err == nil {
			t.Fatalf("a copy cut to %d octets was taken", cut)
		}
	}
	if _, err := decode("other.test.", raw); err == nil {
		t.Error("the copy of another zone was taken")
	}
}

func TestTheTimersOfASOARule(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	timers := Timers{time.Hour, 10 * time.Minute, 24 * time.Hour}
	var s schedule
	if !s.next(0).IsZero() || !s.stale(start) {
		t.Error("a zone without a copy waits, or is not stale")
	}
	after := func(s schedule) time.Duration { return s.next(0).Sub(s.asked) }
	fresh := s.answered(timers, start)
	retried := fresh.failed(false, start.Add(time.Hour))
	first := s.failed(false, start)
	for _, c := range []struct {
		name      string
		got, want time.Duration
	}{
		{"refresh", after(fresh), time.Hour},
		{"retry", after(retried), 10 * time.Minute},
		{"refused", after(fresh.failed(true, start)), 10 * time.Minute},
		{"no copy", after(first), 5 * time.Second},
		{"no copy, again", after(first.failed(false, start)), 10 * time.Second},
		{"a silly refresh", after(s.answered(Timers{}, start)), minRefresh},
		{"a long refresh", after(s.answered(Timers{Refresh: 1000 * time.Hour}, start)), maxRefresh},
		{"with jitter", fresh.next(1).Sub(start), 54 * time.Minute},
	} {
		if c.got != c.want {
			t.Errorf("%s: after %v, want %v", c.name, c.got, c.want)
		}
	}
	if retried.stale(start.Add(24*time.Hour)) || !retried.stale(start.Add(24*time.Hour+1)) {
		t.Error("the copy isn't stale just after expire")
	}
}

func TestSerialsAreComparedInTheirCircle(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{{2, 1, true}, {1, 2, false}, {1, 1, false}, {5, 4294967290, true}, {4294967290, 5, false}} {
		if Newer(c.a, c.b) != c.want {
			t.Errorf("%d after %d: want %v", c.a, c.b, c.want)
		}
	}
}

// primary is a server at the other end of a pipe, with faults.
type primary struct {
	t  *testing.T
	mu sync.Mutex // guards the rest
	// answer makes the messages for a question, in order; nil: the primary is gone.
	answer func(q *dns.Msg) [][]byte
	asked  []string
	wg     sync.WaitGroup
}

func (p *primary) set(f func(q *dns.Msg) [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *primary) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.asked
	p.asked = nil
	return out
}

func (p *primary) DialContext(context.Context, string, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer == nil {
		return nil, errors.New("nobody there")
	}
	ours, theirs := net.Pipe()
	p.wg.Go(func() { p.serve(theirs) })
	return ours, nil
}

func (p *primary) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var n [2]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			return
		}
		raw := make([]byte, binary.BigEndian.Uint16(n[:]))
		if _, err := io.ReadFull(conn, raw); err != nil {
			return
		}
		q := new(dns.Msg)
		if q.Unpack(raw) != nil {
			return
		}
		p.mu.Lock()
		answer := p.answer
		p.asked = append(p.asked, dns.TypeToString[q.Question[0].Qtype])
		p.mu.Unlock()
		if answer == nil {
			return
		}
		for _, out := range answer(q) {
			if out == nil {
				return // cut off
			}
			out = append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}
}

// says answers a question with messages of records.
func says(t *testing.T, q *dns.Msg, messages ...[]string) [][]byte {
	var out [][]byte
	for _, texts := range messages {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Authoritative = true
		m.Answer = rrs(t, texts...)
		raw, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		out = append(out, raw)
	}
	return out
}

// serving is a primary of a zone without faults.
func serving(t *testing.T, serial uint32, records ...string) func(q *dns.Msg) [][]byte {
	return func(q *dns.Msg) [][]byte {
		if q.Question[0].Qtype == dns.TypeSOA {
			return says(t, q, []string{soa(serial)})
		}
		return says(t, q, append([]string{soa(serial)}, records...), []string{soa(serial)})
	}
}

// world is a Secondary with a primary, in a bubble.
type world struct {
	*Secondary
	primary *primary
	mu      sync.Mutex // guards the rest
	taken   []uint32
	refuse  error
	log     strings.Builder
}

// Write implements io.Writer for the log.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func (w *world) serials() []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]uint32{}, w.taken...)
}

func inWorld(t *testing.T, key *tsig.Key, test func(t *testing.T, w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{primary: &primary{t: t}}
		var err error
		w.Secondary, err = New(Config{Dir: dir, dial: w.primary,
			Logger: slog.New(slog.NewTextHandler(w, nil)), Take: func(c *Copy) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.refuse == nil {
					w.taken = append(w.taken, c.Serial)
				}
				return w.refuse
			}})
		if err != nil {
			t.Fatal(err)
		}
		w.SetZones([]Zone{{Name: apex, Primaries: []Primary{{
			Server: netip.MustParseAddrPort("192.0.2.1:53"), Key: key}}}})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		test(t, w)
		cancel()
		run.Wait()
		w.primary.wg.Wait()
	})
}

func TestAZoneFollowsItsPrimaryByTimersAndNotify(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		if got := w.serials(); len(got) != 0 {
			t.Fatalf("taken from nobody: %v", got)
		}
		w.primary.set(serving(t, 1))
		time.Sleep(2 * time.Minute)
		w.primary.set(serving(t, 2))
		time.Sleep(50 * time.Minute)
		if d := cmp.Diff([]uint32{1}, w.serials()); d != "" {
			t.Errorf("before the refresh (-want +got):\n%s", d)
		}
		w.Notify(apex)
		w.Notify(apex)
		time.Sleep(3 * time.Second)
		if d := cmp.Diff([]uint32{1, 2}, w.serials()); d != "" {
			t.Errorf("after NOTIFY (-want +got):\n%s", d)
		}
		w.primary.set(serving(t, 3))
		time.Sleep(time.Hour)
		if d := cmp.Diff([]uint32{1, 2, 3}, w.serials()); d != "" {
			t.Errorf("after the refresh (-want +got):\n%s", d)
		}
	})
}

func TestAZoneWithoutACopySaysSoAgainAndAgain(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		if err := os.MkdirAll(w.cfg.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(w.cfg.Dir, apex), []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		const line = "zone has no copy yet, it answers SERVFAIL except for steered names"
		if n := strings.Count(w.told(), line); n != 1 {
			t.Errorf("told %d times in the first minute:\n%s", n, &w.log)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(w.told(), line); n < 4 || n > 7 {
			t.Errorf("told %d times in an hour", n)
		}
		if n := strings.Count(w.told(), "copy of a zone not read"); n != 1 {
			t.Errorf("the damage was told %d times", n)
		}
		if strings.Contains(w.told(), "serves on") {
			t.Errorf("something is said to serve on:\n%s", w.told())
		}
	})
}

func TestAFaultOfThePrimaryLeavesTheCopyAsItIs(t *testing.T) {
	good := serving(t, 2, "a.example.test. 60 IN A 192.0.2.1")
	for name, bad := range map[string]func(q *dns.Msg) [][]byte{
		"gone":      nil,
		"cut":       func(q *dns.Msg) [][]byte { return append(good(q)[:1], nil) },
		"garbage":   func(*dns.Msg) [][]byte { return [][]byte{bytes.Repeat([]byte{0xFF}, 40)} },
		"silence":   func(*dns.Msg) [][]byte { return nil },
		"backwards": serving(t, 4294967200),
		"refusal": func(q *dns.Msg) [][]byte {
			raw, _ := new(dns.Msg).SetRcode(q, dns.RcodeRefused).Pack()
			return [][]byte{raw}
		},
		"another question": func(q *dns.Msg) [][]byte {
			q.Question[0].Name = "example.org."
			return good(q)
		},
		"another ID": func(q *dns.Msg) [][]byte { q.Id++; return good(q) },
		"no end": func(q *dns.Msg) [][]byte {
			out := good(q)
			return append(out[:1], out[0])
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				w.primary.set(serving(t, 1))
				time.Sleep(10 * time.Second) // the first look may have come before
				w.primary.set(bad)
				time.Sleep(30 * time.Hour)
				if d := cmp.Diff([]uint32{1}, w.serials()); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				if c := w.Current(apex); c == nil || c.Serial != 1 {
					t.Errorf("the copy is %+v", c)
				}
				w.primary.set(serving(t, 3))
				time.Sleep(time.Hour)
				if d := cmp.Diff([]uint32{1, 3}, w.serials()); d != "" {
					t.Errorf("after the fault (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestARefusedZoneIsAskedForAgainAfterAChangeOfTheConfig(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.mu.Lock()
		w.refuse = errors.New("a mistake")
		w.mu.Unlock()
		w.primary.set(serving(t, 1))
		w.Notify(apex)
		time.Sleep(10 * time.Second)
		if c := w.Current(apex); c != nil {
			t.Errorf("a refused zone was kept: %+v", c)
		}
		w.mu.Lock()
		w.refuse = nil
		w.mu.Unlock()
		w.SetZones([]Zone{{Name: apex, Primaries: []Primary{{
			Server: netip.MustParseAddrPort("192.0.2.1:53")}}}})
		time.Sleep(2 * time.Second)
		if d := cmp.Diff([]uint32{1}, w.serials()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		w.SetZones(nil)
		time.Sleep(time.Second)
		w.primary.take()
		time.Sleep(48 * time.Hour)
		if got := w.primary.take(); len(got) != 0 {
			t.Errorf("a zone that is fetched no more was asked for: %v", got)
		}
	})
}

func TestAnAnswerSignedByAnotherKeyIsNotTaken(t *testing.T) {
	key, err := tsig.New("k", "hmac-sha256", bytes.Repeat([]byte("x"), 16))
	if err != nil {
		t.Fatal(err)
	}
	other, err := tsig.New("k", "hmac-sha256", bytes.Repeat([]byte("y"), 16))
	if err != nil {
		t.Fatal(err)
	}
	by := func(key *tsig.Key) func(q *dns.Msg) [][]byte {
		return func(q *dns.Msg) [][]byte {
			raw, err := q.Pack()
			if err != nil {
				t.Error(err)
			}
			_, s, err := tsig.Accept(raw, tsig.Ring{"k": key}, time.Now())
			if err != nil {
				t.Error(err)
			}
			q.Extra = nil
			var out [][]byte
			for _, m := range serving(t, 1)(q) {
				out = append(out, s.Sign(m, time.Now()))
			}
			return out
		}
	}
	inWorld(t, key, func(t *testing.T, w *world) {
		w.primary.set(serving(t, 1))
		time.Sleep(time.Hour)
		w.primary.set(by(other))
		time.Sleep(time.Hour)
		if got := w.serials(); len(got) != 0 {
			t.Errorf("taken unsigned, or by another key: %v", got)
		}
		w.primary.set(by(key))
		time.Sleep(time.Hour)
		if d := cmp.Diff([]uint32{1}, w.serials()); d != "" {
			t.Errorf("by the key (-want +got):\n%s", d)
		}
	})
}
