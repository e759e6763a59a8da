package tap_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/tap"
)

const content = "protobuf:dnstap.Dnstap"

// frame reads one frame of a Frame Stream: data, or the type of a control frame.
func frame(r io.Reader) (data []byte, control uint32, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, err
	}
	if n := binary.BigEndian.Uint32(head[:]); n > 0 {
		data = make([]byte, n)
		_, err = io.ReadFull(r, data)
		return data, 0, err
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, 0, err
	}
	control = binary.BigEndian.Uint32(body)
	if want := "\x00\x00\x00\x01\x00\x00\x00\x16" + content; len(body) > 4 && string(body[4:]) != want {
		return nil, 0, fmt.Errorf("control frame %d with %q", control, body[4:])
	}
	return nil, control, nil
}

// decode reads a protobuf message as fields in ascending order, none of them twice.
func decode(b []byte) (map[uint64]any, error) {
	out := map[uint64]any{}
	for last := uint64(0); len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 <= last {
			return nil, fmt.Errorf("tag %d after field %d", tag, last)
		}
		b, last = b[n:], tag>>3
		v, n := binary.Uvarint(b)
		switch tag & 7 {
		case 0:
			out[last] = v
		case 2:
			if n <= 0 || v > uint64(len(b)-n) {
				return nil, fmt.Errorf("field %d is cut", last)
			}
			out[last], n = string(b[n:n+int(v)]), n+int(v)
		case 5:
			out[last], n = binary.LittleEndian.Uint32(b), 4
		default:
			return nil, fmt.Errorf("wire type %d", tag&7)
		}
		if n <= 0 {
			return nil, fmt.Errorf("field %d is no number", last)
		}
		b = b[n:]
	}
	return out, nil
}

// messages reads a file's frames, from START to STOP, as Dnstap messages.
func messages(t *testing.T, name string) (out []map[uint64]any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(raw)
	if _, kind, err := frame(r); err != nil || kind != 2 {
		t.Fatalf("%s begins with frame %d, %v", name, kind, err)
	}
	for {
		data, kind, err := frame(r)
		if err != nil {
			t.Fatal(err)
		}
		if data == nil {
			if kind != 3 || r.Len() > 0 {
				t.Fatalf("%s: control frame %d, %d octets before the end", name, kind, r.Len())
			}
			return out
		}
		m, err := decode(data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
}

func TestMessagesFollowTheSchemaOfDnstap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tap")
	made, reg := newTap(t, tap.Config{Dnstap: &tap.DnstapConfig{To: "file:" + name, Sample: 1,
		Messages: tap.Both, Identity: "node-1", Version: "pointsman 1"}})
	source, e := made.Source(1), event(nil)
	offer(source, e)
	six := event(nil)
	six.Proto, six.Client = tap.TCP, addrPort("[2001:db8::7]:999")
	six.Server = addrPort("[2001:db8::53]:53")
	offer(source, six)
	running(t, made)()

	got := messages(t, name)
	if len(got) != 4 {
		t.Fatalf("%d messages of two events", len(got))
	}
	zone := string(apex(nil))
	common := func(m map[uint64]any) map[uint64]any {
		m[8], m[9], m[11] = uint64(start.Unix()), uint32(123456789), zone
		return m
	}
	v4 := func(kind uint64) map[uint64]any {
		return common(map[uint64]any{1: kind, 2: uint64(1), 3: uint64(1), 4: "\xc0\x00\x02\x07",
			5: "\xc6\x33\x64\x35", 6: uint64(4242), 7: uint64(53)})
	}
	asked, answered := v4(1), v4(2)
	asked[10] = string(e.Query)
	answered[12], answered[13], answered[14] = uint64(start.Unix()), uint32(123496789),
		string(e.Answer)
	for i, want := range []map[uint64]any{asked, answered} {
		inner, err := decode([]byte(got[i][14].(string)))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, inner); d != "" {
			t.Errorf("message %d (-want +got):\n%s", i, d)
		}
		delete(got[i], 14)
		outer := map[uint64]any{1: "node-1", 2: "pointsman 1", 15: uint64(1)}
		if d := cmp.Diff(outer, got[i]); d != "" {
			t.Errorf("envelope %d (-want +got):\n%s", i, d)
		}
	}
	inner, err := decode([]byte(got[3][14].(string)))
	if err != nil {
		t.Fatal(err)
	}
	if inner[2] != uint64(2) || inner[3] != uint64(2) || len(inner[4].(string)) != 16 {
		t.Errorf("over TCP and IPv6: %v", inner)
	}
	if d := cmp.Diff(map[string]float64{"dnstap written": 2}, counts(t, reg)); d != "" {
		t.Errorf("counters (-want +got):\n%s", d)
	}
}

func TestDnstapReadUnderstandsTheFile(t *testing.T) {
	reader, err := exec.LookPath("dnstap-read")
	if err != nil {
		t.Fatal("dnstap-read is missing: it is in Debian's bind9-dnsutils")
	}
	name := filepath.Join(t.TempDir(), "tap")
	made, _ := newTap(t, tap.Config{Dnstap: &tap.DnstapConfig{To: "file:" + name, Sample: 1,
		Messages: tap.Both}})
	offer(made.Source(1), event(nil))
	running(t, made)()
	out, err := exec.Command(reader, name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for l := range strings.Lines(string(out)) {
		got = append(got, strings.Join(strings.Fields(l)[2:], " "))
	}
	want := []string{
		"AQ 192.0.2.7:4242 -> 198.51.100.53:53 UDP 34b cdn.example.test/IN/A",
		"AR 192.0.2.7:4242 <- 198.51.100.53:53 UDP 34b cdn.example.test/IN/A"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("dnstap-read says (-want +got):\n%s", d)
	}
}

// reader is the other end of a bidirectional Frame Stream.
type reader struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func accept(t *testing.T, l net.Listener) *reader {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := &reader{t: t, conn: conn, r: bufio.NewReader(conn)}
	p.expect(4)
	return p
}

func (p *reader) expect(kind uint32) {
	p.t.Helper()
	if data, got, err := frame(p.r); err != nil || data != nil || got != kind {
		p.t.Fatalf("frame %d with %q, %v, where %d belongs", got, data, err, kind)
	}
}

// say sends a control frame, with the content type unless that is empty.
func (p *reader) say(kind byte, content string) {
	p.t.Helper()
	b := []byte{0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, kind}
	if content != "" {
		b[7] += 8 + byte(len(content))
		b = append(append(b, 0, 0, 0, 1, 0, 0, 0, byte(len(content))), content...)
	}
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func TestAReaderOnASocketGetsAllAndIsFoundAgain(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			at := "127.0.0.1:0"
			if network == "unix" {
				at = filepath.Join(t.TempDir(), "socket")
			}
			l, err := net.Listen(network, at)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			made, reg := newTap(t, tap.Config{Dnstap: &tap.DnstapConfig{Sample: 1,
				To: network + ":" + l.Addr().String()}})
			source := made.Source(1)
			offer(source, event(nil))
			stop := running(t, made)
			first := accept(t, l)
			first.say(1, "protobuf:other")
			await(t, "the event is lost", func() bool { return counts(t, reg)["dnstap failed"] == 1 })
			first.conn.Close()
			// A connection is made again when there is something to write.
			done := make(chan *reader, 1)
			var got *reader
			go1(t, func() { done <- accept(t, l) })
			await(t, "the reader is found again", func() bool {
				offer(source, event(nil))
				select {
				case got = <-done:
					return true
				default:
					return false
				}
			})
			got.say(1, content)
			got.expect(2)
			if data, _, err := frame(got.r); err != nil || data == nil {
				t.Fatalf("no frame: %v", err)
			}
			ended := make(chan struct{})
			go1(t, func() { stop(); close(ended) })
			for {
				data, kind, err := frame(got.r)
				if err != nil {
					t.Fatal(err)
				}
				if data == nil {
					if kind != 3 {
						t.Fatalf("control frame %d, not STOP", kind)
					}
					break
				}
			}
			got.say(5, "")
			<-ended
			if n := counts(t, reg)["dnstap written"]; n == 0 {
				t.Error("nothing was counted as written")
			}
		})
	}
}

func TestAReaderThatReadsNothingHoldsUpNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	made, reg := newTap(t, tap.Config{Dnstap: &tap.DnstapConfig{Sample: 1,
		To: "tcp:" + l.Addr().String()}})
	source, e := made.Source(1), event(nil)
	stop := running(t, made) // it waits for an ACCEPT that never comes
	defer stop()
	const all = 20000 // many times what the ring holds
	for range all {
		offer(source, e)
	}
	await(t, "all are counted", func() bool {
		c := counts(t, reg)
		return c["dnstap overflow"] > 0 && c["dnstap overflow"]+c["dnstap failed"] == all
	})
}

func TestADestinationThatCannotBeIsRefused(t *testing.T) {
	for _, to := range []string{"", "file:", "unix", "http:x", "/tmp/x"} {
		if _, err := tap.New(tap.Config{Dnstap: &tap.DnstapConfig{To: to, Sample: 1}}); err == nil ||
			!strings.Contains(err.Error(), "file:PATH") {
			t.Errorf("%q: %v", to, err)
		}
	}
	if !slices.Contains([]string{"a tap without a sink"}, fmt.Sprint(second(tap.New(tap.Config{})))) {
		t.Error("a tap without a sink was made")
	}
}
