package dnssec

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Publication is all that a server needs to serve a signed zone without its keys: a head and
// the signatures, each known by a digest of the set that it covers. A server with other sets
// than the signer finds no signatures for them.
type Publication struct {
	Head
	// Signatures are those in use, each once, in order.
	Signatures []Signature
}

// Head is a publication without its signatures.
type Head struct {
	Zone string `json:"zone"` // canonical
	// Epoch rises with each publication of a zone; a Signer leaves it 0.
	Epoch uint64 `json:"epoch"`
	// Serial is that of the SOA record, unless the zone brings its own.
	Serial uint32 `json:"serial"`
	// Contents identifies what was signed, but for the serial.
	Contents string `json:"contents"`
	NSEC3    bool   `json:"nsec3"`
	// Own are the records that signing adds at the apex, as text: DNSKEY, CDS and so on.
	Own []string `json:"own"`
	// ZoneKeys and KeyKeys are the tags of the keys that sign the zone's sets, and those of keys.
	ZoneKeys []uint16 `json:"zone_keys"`
	KeyKeys  []uint16 `json:"key_keys"`
}

// SignatureSize is how many octets a Signature has.
const SignatureSize = sha256.Size + 2 + 4 + 4 + rawSize

// rawSize is that of a signature of ECDSA P-256 (RFC 6605 §4) and of Ed25519 (RFC 8080 §4).
const rawSize = 64

// Signature is one signature in its compact form: the digest of the set, the key's tag, the
// times of start and end, the signature itself. The rest of its record follows from the set.
type Signature [SignatureSize]byte

// pack makes the compact form.
func pack(key signKey, sig *dns.RRSIG) (Signature, error) {
	var s Signature
	raw, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil || len(raw) != rawSize {
		return s, fmt.Errorf("signature of %d octets, not %d", len(raw), rawSize)
	}
	b := append(s[:0], key.content[:]...)
	b = binary.BigEndian.AppendUint16(b, key.tag)
	b = binary.BigEndian.AppendUint32(b, sig.Inception)
	b = binary.BigEndian.AppendUint32(b, sig.Expiration)
	copy(s[len(b):], raw)
	return s, nil
}

// key is what the signature is known by.
func (s *Signature) key() signKey {
	return signKey{[sha256.Size]byte(s[:sha256.Size]), binary.BigEndian.Uint16(s[sha256.Size:])}
}

// record makes the record from the set that the signature covers (RFC 4034 §3.1).
func (s *Signature) record(rrs []dns.RR, key *dns.DNSKEY) *dns.RRSIG {
	h := rrs[0].Header()
	labels := dns.CountLabel(h.Name)
	if strings.HasPrefix(h.Name, "*") { // §3.1.3
		labels--
	}
	times := s[sha256.Size+2:]
	return &dns.RRSIG{
		Hdr:         dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: h.Class, Ttl: h.Ttl},
		TypeCovered: h.Rrtype, Algorithm: key.Algorithm, Labels: uint8(labels), OrigTtl: h.Ttl,
		Inception:  binary.BigEndian.Uint32(times),
		Expiration: binary.BigEndian.Uint32(times[4:]),
		KeyTag:     s.key().tag, SignerName: key.Hdr.Name,
		Signature: base64.StdEncoding.EncodeToString(times[8:]),
	}
}

// Publication returns what the last Sign has made and used, for servers without keys; false
// before the first.
func (s *Signer) Publication() (Publication, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rounds == 0 {
		return Publication{}, false, nil
	}
	p := Publication{Head: s.head}
	for key, m := range s.cache {
		if m.round != s.rounds {
			continue
		}
		packed, err := pack(key, m.sig)
		if err != nil {
			return Publication{}, false, fmt.Errorf("publishing %s: %w", s.cfg.Zone, err)
		}
		p.Signatures = append(p.Signatures, packed)
	}
	slices.SortFunc(p.Signatures, func(a, b Signature) int { return slices.Compare(a[:], b[:]) })
	return p, true, nil
}

// describe makes the head of what is signed. The caller holds s.mu.
func (s *Signer) describe(z *Zone, own [][]dns.RR) Head {
	h := Head{Zone: s.cfg.Zone, Serial: z.SOA.Serial, Contents: z.contents, NSEC3: s.cfg.Policy.NSEC3}
	for _, set := range own {
		for _, rr := range set {
			h.Own = append(h.Own, rr.String())
		}
	}
	for _, p := range s.using(Key.signsZone) {
		h.ZoneKeys = append(h.ZoneKeys, p.tag)
	}
	for _, p := range s.using(Key.signsKeys) {
		h.KeyKeys = append(h.KeyKeys, p.tag)
	}
	return h
}

// Use lets the Signer take over signatures that it, or one with the same keys, has published,
// so that they need not be made again. Each is verified before it is used.
func (s *Signer) Use(p Publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = p.Head
	s.prior = make(map[signKey]Signature, len(p.Signatures))
	for _, sig := range p.Signatures {
		s.prior[sig.key()] = sig
	}
}

// Continues reports whether a publication shows keys that sign here, of both kinds: who has
// cached it can verify what is signed here too.
func (s *Signer) Continues(h Head) (bool, error) {
	shown, err := h.sets()
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := func(keys []*pair) bool {
		return slices.ContainsFunc(keys, func(p *pair) bool {
			return slices.ContainsFunc(shown[0], func(rr dns.RR) bool {
				return dns.IsDuplicate(rr, p.public)
			})
		})
	}
	return known(s.using(Key.signsZone)) && known(s.using(Key.signsKeys)), nil
}

// Look warns when signatures come to their end, as Advance does.
func (s *Signer) Look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.again(s.cfg.Now())
}

// Settling says how long a change of keys takes.
type Settling struct {
	Propagation time.Duration // to every server of the zone
	Caches      time.Duration // until no cache has keys, or answers signed by them, of before
}

// Settling returns how long a change of keys takes.
func (s *Signer) Settling() Settling {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Settling{Propagation: s.cfg.Policy.Propagation, Caches: keyTTL + s.zoneTTL}
}

// KeySet identifies the keys that a publication shows.
func (h Head) KeySet() string {
	var keys []string
	for _, text := range h.Own {
		if strings.Contains(text, "\tDNSKEY\t") {
			keys = append(keys, text)
		}
	}
	slices.Sort(keys)
	sum := sha256.Sum256([]byte(strings.Join(keys, "\n")))
	return hex.EncodeToString(sum[:16])
}

var errNoKeys = errors.New("the first of its own sets is not that of DNSKEY records")

// sets parses the records that signing adds, into sets in the order of their types. The first
// is that of DNSKEY.
func (h Head) sets() ([][]dns.RR, error) {
	by := make(map[uint16][]dns.RR)
	for _, text := range h.Own {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			return nil, fmt.Errorf("record %q can't be read", text)
		}
		switch t := rr.Header().Rrtype; {
		case rr.Header().Name != h.Zone:
			return nil, fmt.Errorf("record %q is not at the apex of %s", text, h.Zone)
		case t == dns.TypeDNSKEY, t == dns.TypeCDS, t == dns.TypeCDNSKEY, t == dns.TypeNSEC3PARAM:
			by[t] = append(by[t], rr)
		default:
			return nil, fmt.Errorf("record %q is none that signing adds", text)
		}
	}
	if len(by[dns.TypeDNSKEY]) == 0 {
		return nil, errNoKeys
	}
	var out [][]dns.RR
	for _, t := range []uint16{dns.TypeDNSKEY, dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY} {
		if len(by[t]) > 0 {
			out = append(out, by[t])
		}
	}
	return out, nil
}
