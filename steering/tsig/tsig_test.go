package tsig_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/tsig"
)

var secret = bytes.Repeat([]byte("s3cr"), 8)

func key(t *testing.T, name, algorithm string) *tsig.Key {
	t.Helper()
	k, err := tsig.New(name, algorithm, secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func question() *dns.Msg { return new(dns.Msg).SetQuestion("Example.test.", dns.TypeSOA) }

var now = time.Unix(1_800_000_000, 0)

// TestSignaturesAreThoseOfTheLibrary checks both directions against the DNS library's own TSIG.
func TestSignaturesAreThoseOfTheLibrary(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString(secret)
	for _, algorithm := range []string{"hmac-sha256", "hmac-sha384", "hmac-sha512"} {
		k := key(t, "Transfer.Key", algorithm)
		at := time.Now() // the library reads the clock
		signed, s := k.Begin(packed(t, question()), at)
		if err := dns.TsigVerify(bytes.Clone(signed), encoded, "", false); err != nil {
			t.Errorf("%s: the library refuses our request: %v", algorithm, err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(signed); err != nil {
			t.Fatal(err)
		}
		requestMAC := m.IsTsig().MAC
		mac := requestMAC
		for i := range 3 {
			answer := new(dns.Msg)
			answer.SetReply(question())
			answer.Id = m.Id
			answer.SetTsig("transfer.key.", algorithm+".", 300, at.Unix())
			raw, next, err := dns.TsigGenerate(answer, encoded, mac, i > 0)
			if err != nil {
				t.Fatal(err)
			}
			mac = next
			if _, err := s.Check(raw, at); err != nil {
				t.Errorf("%s: answer %d of the library is refused: %v", algorithm, i, err)
			}
		}
		if err := s.End(); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}

		_, server, err := tsig.Accept(signed, tsig.Ring{k.Name(): k}, at)
		if err != nil || server.Fault() != 0 {
			t.Fatalf("%s: our own request: %v, %v", algorithm, err, server.Fault())
		}
		mac = requestMAC
		for i := range 3 {
			out := server.Sign(packed(t, question()), at)
			if err := dns.TsigVerify(bytes.Clone(out), encoded, mac, i > 0); err != nil {
				t.Errorf("%s: the library refuses our answer %d: %v", algorithm, i, err)
			}
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			mac = m.IsTsig().MAC
		}
	}
}

func TestAServerTellsWhatIsWrongWithARequest(t *testing.T) {
	good := key(t, "good", "hmac-sha256")
	ring := tsig.Ring{"good": good}
	other, err := tsig.New("good", "hmac-sha256", bytes.Repeat([]byte("x"), 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		by   *tsig.Key
		at   time.Time
		want tsig.Fault
	}{
		{"the right key", good, now, 0},
		{"just within the time", good, now.Add(300 * time.Second), 0},
		{"too late", good, now.Add(-301 * time.Second), tsig.BadTime},
		{"too early", good, now.Add(301 * time.Second), tsig.BadTime},
		{"another secret", other, now, tsig.BadSig},
		{"another algorithm", key(t, "good", "hmac-sha512"), now, tsig.BadKey},
		{"another name", key(t, "bad", "hmac-sha256"), now, tsig.BadKey},
	} {
		request := packed(t, question())
		signed, client := c.by.Begin(request, c.at)
		body, s, err := tsig.Accept(signed, ring, now)
		if err != nil || s.Fault() != c.want {
			t.Errorf("%s: %v, %v", c.name, err, s.Fault())
			continue
		}
		if !bytes.Equal(body, request) {
			t.Errorf("%s: the body is not what was signed", c.name)
		}
		out := s.Sign(request, now)
		if len(out) > len(request)+s.Room() {
			t.Errorf("%s: %d octets more than the room of %d", c.name, len(out)-len(request), s.Room())
		}
		_, err = client.Check(out, c.at)
		if (err == nil) != (c.want == 0) || err != nil && !strings.Contains(err.Error(), c.want.String()) {
			t.Errorf("%s: the client learns %v", c.name, err)
		}
	}
}

func TestAClientRefusesWhatIsNotSignedRight(t *testing.T) {
	k := key(t, "good", "hmac-sha256")
	ring := tsig.Ring{"good": k}
	begin := func() (*tsig.Session, *tsig.Session) {
		signed, client := k.Begin(packed(t, question()), now)
		_, server, err := tsig.Accept(signed, ring, now)
		if err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	answer := packed(t, question())

	client, _ := begin()
	if _, err := client.Check(answer, now); !errors.Is(err, tsig.ErrUnsigned) {
		t.Errorf("an unsigned first answer: %v", err)
	}
	client, server := begin()
	out := server.Sign(answer, now)
	out[3] ^= 1
	if _, err := client.Check(out, now); err == nil {
		t.Error("a changed answer was taken")
	}
	client, server = begin()
	if _, err := client.Check(server.Sign(answer, now), now.Add(time.Hour)); err == nil {
		t.Error("an old answer was taken")
	}
	client, server = begin()
	for i := range 101 {
		out := answer
		if i == 0 {
			out = server.Sign(answer, now)
		}
		if _, err := client.Check(out, now); (err != nil) != (i == 100) {
			t.Fatalf("answer %d without a signature: %v", i, err)
		}
		if err := client.End(); (err != nil) != (i > 0) {
			t.Fatalf("an end after answer %d: %v", i, err)
		}
	}
}

func TestAMessageWithTSIGInTheWrongPlaceIsRefused(t *testing.T) {
	k := key(t, "good", "hmac-sha256")
	signed, _ := k.Begin(packed(t, question()), now)
	for name, packet := range map[string][]byte{
		"something behind":  append(bytes.Clone(signed), 0),
		"cut":               signed[:len(signed)-1],
		"no header":         signed[:11],
		"a count too small": func() []byte { p := bytes.Clone(signed); p[11] = 0; return p }(),
		"two": func() []byte {
			p, _ := k.Begin(signed, now)
			return p
		}(),
	} {
		body, s, err := tsig.Accept(packet, tsig.Ring{"good": k}, now)
		if !errors.Is(err, tsig.ErrFormat) && !(name == "a count too small" && s == nil && body != nil) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func TestKeysAreChecked(t *testing.T) {
	for _, c := range []struct {
		name, algorithm string
		secret          []byte
	}{
		{"a..b", "hmac-sha256", secret}, {"", "hmac-sha256", secret},
		{strings.Repeat("a", 64), "hmac-sha256", secret}, {"a", "hmac-md5", secret},
		{"a", "hmac-sha256", secret[:15]},
	} {
		if _, err := tsig.New(c.name, c.algorithm, c.secret); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
}

func FuzzAccept(f *testing.F) {
	k, err := tsig.New("good", "hmac-sha256", secret)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := question().Pack()
	if err != nil {
		f.Fatal(err)
	}
	signed, _ := k.Begin(raw, now)
	f.Add(signed)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, packet []byte) {
		body, s, err := tsig.Accept(packet, tsig.Ring{"good": k}, now)
		if err == nil && s != nil && s.Fault() == 0 && s.Key() != k {
			t.Error("a good request of no key")
		}
		if err == nil && len(body) > len(packet) {
			t.Error("the body is longer than the packet")
		}
	})
}
