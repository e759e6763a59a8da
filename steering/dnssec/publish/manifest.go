package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pointsman/internal/store"
	"pointsman/steering/dnssec"
)

// format is the version of manifests and chunks.
const format = 1

// perChunk is how many signatures a chunk has at most: some 425 kB of them.
const perChunk = 4096

// prefix is that of all keys in stores; below it every zone has its own.
const prefix = "dnssec/"

// retireAfter is how long a chunk that is needed no more is kept for nodes that read the
// manifest before.
const retireAfter = 10 * time.Minute

// manifest is a publication without its signatures, which the chunks have.
type manifest struct {
	Format int `json:"format"`
	dnssec.Head
	Signer string    `json:"signer"` // the node
	At     time.Time `json:"at"`
	// KeysSince is when the keys that it shows were first published.
	KeysSince time.Time `json:"keys_since"`
	Chunks    []string  `json:"chunks"`
	Retired   []retired `json:"retired,omitempty"`
}

// retired is a chunk that is needed no more.
type retired struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
}

// errDamaged says that a manifest or a chunk is not what was written.
var errDamaged = errors.New("damaged")

func (m *manifest) encode() ([]byte, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
	}
	return raw, store.CheckValue(raw)
}

func decode(zone string, raw []byte) (*manifest, error) {
	m := new(manifest)
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("%w: the manifest of %s: %w", errDamaged, zone, err)
	}
	switch {
	case m.Format != format:
		return nil, fmt.Errorf("%w: the manifest of %s has format %d, not %d", errDamaged, zone,
			m.Format, format)
	case m.Zone != zone || m.Epoch == 0:
		return nil, fmt.Errorf("%w: the manifest of %s is of %q, epoch %d", errDamaged, zone, m.Zone,
			m.Epoch)
	}
	for _, id := range m.Chunks {
		if store.CheckKey(id) != nil {
			return nil, fmt.Errorf("%w: the manifest of %s names a chunk %q", errDamaged, zone, id)
		}
	}
	return m, nil
}

// nextEpoch returns an epoch above the last known one. The time in it keeps it above those that
// nobody here remembers.
func nextEpoch(last uint64, now time.Time) uint64 { return max(last+1, uint64(now.Unix())) }

// chunk is some signatures, known by their digest.
type chunk struct {
	id   string
	sigs []dnssec.Signature
}

func newChunk(sigs []dnssec.Signature) chunk {
	sum := sha256.Sum256(bytesOf(sigs))
	return chunk{hex.EncodeToString(sum[:]), sigs}
}

func bytesOf(sigs []dnssec.Signature) []byte {
	raw := make([]byte, 0, len(sigs)*dnssec.SignatureSize)
	for i := range sigs {
		raw = append(raw, sigs[i][:]...)
	}
	return raw
}

// open reads a chunk, which must be the one with an ID.
func open(id string, raw []byte) (chunk, error) {
	sum := sha256.Sum256(raw)
	if hex.EncodeToString(sum[:]) != id || len(raw)%dnssec.SignatureSize != 0 {
		return chunk{}, fmt.Errorf("%w: chunk %s", errDamaged, id)
	}
	c := chunk{id, make([]dnssec.Signature, len(raw)/dnssec.SignatureSize)}
	for i := range c.sigs {
		copy(c.sigs[i][:], raw[i*dnssec.SignatureSize:])
	}
	return c, nil
}

// Keys in stores.
func zoneKey(zone, rest string) string { return prefix + zone + "/" + rest }
func manifestKey(zone string) string   { return zoneKey(zone, "current") }
func chunkKey(zone, id string) string  { return zoneKey(zone, "chunk/"+id) }
func seenKey(zone, node string) string { return zoneKey(zone, "seen/"+node) }
func leaseName(zone string) string     { return prefix + zone }
