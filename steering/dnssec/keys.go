package dnssec

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// pair is a key with its private half.
type pair struct {
	public  *dns.DNSKEY
	private crypto.Signer
	tag     uint16
}

// folder is where a zone's keys lie, in the file format of BIND: K<zone>+<algorithm>+<tag>.key
// and .private, and a file with the State beside them.
type folder struct {
	dir, zone string
}

func folderOf(dir, zone string) folder {
	return folder{dir: filepath.Join(dir, url.PathEscape(strings.TrimSuffix(zone, "."))), zone: zone}
}

func openFolder(dir, zone string) (folder, error) {
	f := folderOf(dir, zone)
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return f, fmt.Errorf("making the folder of keys: %w", err)
	}
	return f, nil
}

const stateFile = "state.json"

// adopt makes the state of keys that were found without one.
func adopt(keys map[uint16]*pair, now time.Time) State {
	var s State
	zone := slices.ContainsFunc(values(keys), func(p *pair) bool { return p.public.Flags&dns.SEP == 0 })
	for _, p := range values(keys) {
		k := Key{Tag: p.tag, Phase: Active, Since: now}
		switch {
		case p.public.Flags&dns.SEP == 0:
			k.Role = ZSK
		case zone:
			k.Role = KSK
		default:
			k.Role = CSK
		}
		s.Keys = append(s.Keys, k)
	}
	return s
}

// values returns the pairs by tag.
func values(keys map[uint16]*pair) []*pair {
	out := make([]*pair, 0, len(keys))
	for _, p := range keys {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *pair) int { return int(a.tag) - int(b.tag) })
	return out
}

// pairs reads all keys in the folder.
func (f folder) pairs() (map[uint16]*pair, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(f.dir), "K*.private"))
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	keys := make(map[uint16]*pair)
	for _, file := range files {
		p, err := f.read(file)
		if err != nil {
			return nil, fmt.Errorf("reading key %s: %w", file, err)
		}
		if keys[p.tag] != nil {
			return nil, fmt.Errorf("reading key %s: there are two keys with the tag %d", file, p.tag)
		}
		keys[p.tag] = p
	}
	return keys, nil
}

// escapeGlob keeps a folder's name from being a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// read reads one key. Its private half must be readable by its owner alone.
func (f folder) read(file string) (*pair, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read it (mode %04o): make it 0600", info.Mode().Perm())
	}
	public, err := os.ReadFile(strings.TrimSuffix(file, ".private") + ".key")
	if err != nil {
		return nil, err
	}
	rr, err := dns.NewRR(string(public))
	if err != nil {
		return nil, fmt.Errorf("its public half is no record: %w", err)
	}
	key, ok := rr.(*dns.DNSKEY)
	if !ok || dns.CanonicalName(key.Hdr.Name) != f.zone {
		return nil, fmt.Errorf("its public half is no DNSKEY of %s", f.zone)
	}
	raw, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	private, err := key.ReadPrivateKey(raw, file)
	if err != nil {
		return nil, errors.New("its private half can't be understood") // the cause may quote it
	}
	signer, ok := private.(crypto.Signer)
	if !ok || !matches(key, signer) {
		return nil, errors.New("its halves don't belong together")
	}
	key.Hdr = f.header()
	return &pair{public: key, private: signer, tag: key.KeyTag()}, nil
}

// matches reports whether a private key is that of a DNSKEY: what it signs must verify.
func matches(key *dns.DNSKEY, private crypto.Signer) bool {
	sig := &dns.RRSIG{Algorithm: key.Algorithm, KeyTag: key.KeyTag(), SignerName: key.Hdr.Name}
	set := []dns.RR{key}
	return sig.Sign(private, set) == nil && sig.Verify(key, set) == nil
}

func (f folder) header() dns.RR_Header {
	return dns.RR_Header{Name: f.zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET,
		Ttl: uint32(keyTTL / time.Second)}
}

// make makes a key and stores it. No key of the zone has had its tag.
func (f folder) make(role Role, a Algorithm, taken map[uint16]*pair) (*pair, error) {
	for {
		key := &dns.DNSKEY{Hdr: f.header(), Flags: dns.ZONE, Protocol: 3, Algorithm: a.number()}
		if role != ZSK {
			key.Flags |= dns.SEP
		}
		private, err := key.Generate(256)
		if err != nil {
			return nil, fmt.Errorf("making a key: %w", err)
		}
		if taken[key.KeyTag()] != nil || key.KeyTag() == 0 {
			continue
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("making a key: %T can't sign", private)
		}
		p := &pair{public: key, private: signer, tag: key.KeyTag()}
		base := f.base(p)
		err = write(base+".key", []byte(key.String()+"\n"), 0o644)
		if err == nil {
			err = write(base+".private", []byte(key.PrivateKeyString(private)), 0o600)
		}
		if err != nil { // half a key must not look like one that was lost
			return nil, errors.Join(err, f.undo(p))
		}
		return p, nil
	}
}

// base is the name of a key's files without their endings.
func (f folder) base(p *pair) string {
	return filepath.Join(f.dir, fmt.Sprintf("K%s+%03d+%05d", url.PathEscape(f.zone),
		p.public.Algorithm, p.tag))
}

// remove removes a key that is not needed any more.
func (f folder) remove(p *pair) error {
	return errors.Join(os.Remove(f.base(p)+".private"), os.Remove(f.base(p)+".key"))
}

// save writes the state.
func (f folder) save(s State) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the state of keys: %w", err)
	}
	return write(filepath.Join(f.dir, stateFile), append(raw, '\n'), 0o600)
}

// write replaces a file as a whole, durably: a crash leaves the old one or the new one.
func write(path string, content []byte, mode fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: writing %s: %w", errUnwritten, path, err)
		}
	}()
	tmp := path + ".new"
	file, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
