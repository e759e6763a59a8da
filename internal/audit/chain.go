package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"pointsman/internal/store"
)

// head is the end of the local chain. The zero value is unknown.
type head struct {
	known    bool
	sequence uint64 // of the last record of the local log
	number   uint64 // of the last entry
	hash     string // of the last entry's line
}

// checkpointEvery is how many records lie between two checkpoints, which spare a start from
// reading the whole log.
const checkpointEvery = 64

// checkpoint is a place in the local log that was once right. It also shows a log whose end
// was cut off.
type checkpoint struct {
	Sequence uint64 `json:"sequence"`
	Number   uint64 `json:"number"`
	Hash     string `json:"hash"`
}

func (l *Log) localLog() string      { return "audit/node/" + l.node }
func (l *Log) checkpointKey() string { return "audit/checkpoint/" + l.node }

// appendChained writes entries as one record, each carrying the hash of the one before.
func (l *Log) appendChained(ctx context.Context, entries []Entry) error {
	if !l.head.known {
		found, err := l.findHead(ctx)
		if err != nil {
			return err
		}
		l.head = found
	}
	next := l.head
	var record []byte
	for _, e := range entries {
		next.number++
		e.Number, e.Previous = next.number, next.hash
		line, err := encodeEntry(e)
		if err != nil {
			return err
		}
		next.hash = hashLine(line)
		record = append(append(record, line...), '\n')
	}
	sequence, err := l.local.Append(ctx, l.localLog(), record)
	if err != nil {
		l.head = head{} // it may be there or not: look before the next
		return err
	}
	last := l.head.sequence
	next.sequence = sequence
	l.head = next
	if last/checkpointEvery != sequence/checkpointEvery {
		l.saveCheckpoint(ctx, next)
	}
	return nil
}

// saveCheckpoint is best effort: an older checkpoint only makes the next start longer.
func (l *Log) saveCheckpoint(ctx context.Context, h head) {
	value, err := json.Marshal(checkpoint{h.sequence, h.number, h.hash})
	if err == nil {
		_, err = l.local.Put(ctx, l.checkpointKey(), value, store.PutOptions{})
	}
	if err != nil {
		l.log.Warn("audit checkpoint not saved", "err", err)
	}
}

func (l *Log) loadCheckpoint(ctx context.Context) (checkpoint, error) {
	var c checkpoint
	e, err := l.local.Get(ctx, l.checkpointKey())
	if errors.Is(err, store.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(e.Value, &c); err != nil {
		return c, fmt.Errorf("decoding the audit checkpoint: %w", err)
	}
	return c, nil
}

// findHead reads from the checkpoint to the end of the local log.
func (l *Log) findHead(ctx context.Context) (head, error) {
	c, err := l.loadCheckpoint(ctx)
	if err != nil {
		return head{}, err
	}
	h := head{known: true, sequence: c.Sequence, number: c.Number, hash: c.Hash}
	err = eachRecord(ctx, l.local, l.localLog(), c.Sequence, func(r store.Record) error {
		lines, err := decodeRecord(r.Value)
		if err != nil {
			return fmt.Errorf("reading audit record %d: %w", r.Sequence, err)
		}
		last := lines[len(lines)-1]
		h.sequence, h.number, h.hash = r.Sequence, last.entry.Number, last.hash
		return nil
	})
	return h, err
}

// Verify reads the node's own log from its first entry and returns an error that names the
// first entry which was changed, removed, added or moved, or nil. It sees a missing end as far
// as this process or the last checkpoint knows of it. Entries may be recorded meanwhile.
func (l *Log) Verify(ctx context.Context) error {
	select {
	case l.chainTurn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("verifying the audit log: %w", ctx.Err())
	}
	written := l.head
	<-l.chainTurn
	if err := l.verify(ctx, written); err != nil {
		return fmt.Errorf("verifying the audit log of %q: %w", l.node, err)
	}
	return nil
}

func (l *Log) verify(ctx context.Context, written head) error {
	c, err := l.loadCheckpoint(ctx)
	if err != nil {
		return err
	}
	var h head
	err = eachRecord(ctx, l.local, l.localLog(), 0, func(r store.Record) error {
		lines, err := decodeRecord(r.Value)
		if err != nil {
			return fmt.Errorf("record %d: %w", r.Sequence, err)
		}
		for _, line := range lines {
			if err := h.follow(line); err != nil {
				return fmt.Errorf("record %d: %w", r.Sequence, err)
			}
			changed := h.number == c.Number && h.hash != c.Hash ||
				h.number == written.number && h.hash != written.hash
			if changed {
				return fmt.Errorf("entry %d is not the one that was written", h.number)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if most := max(c.Number, written.number); h.number < most {
		return fmt.Errorf("the log ends with entry %d, but %d were written", h.number, most)
	}
	return nil
}

// follow moves the head to the next line, if the line is chained to it.
func (h *head) follow(line chained) error {
	switch e := line.entry; {
	case e.Number != h.number+1:
		return fmt.Errorf("entry %d follows entry %d", e.Number, h.number)
	case e.Previous != h.hash:
		return fmt.Errorf("entry %d is not chained to the entry before it", e.Number)
	}
	h.number, h.hash = line.entry.Number, line.hash
	return nil
}

// chained is one entry with the hash of its stored line.
type chained struct {
	entry Entry
	line  []byte
	hash  string
}

func encodeEntry(e Entry) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	// Room for the number and hash that are added under the chain's turn.
	if len(line) > maxEntryBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrInvalid, len(line), maxEntryBytes)
	}
	return line, nil
}

func hashLine(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// decodeRecord reads one or more lines of JSON. The bytes are hostile: they come from a store.
func decodeRecord(record []byte) ([]chained, error) {
	var found []chained
	for line := range bytes.Lines(record) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		var e Entry
		if !whole {
			return nil, errors.New("a line without its end")
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, fmt.Errorf("decoding an entry: %w", err)
		}
		if e.ID == "" || e.Node == "" || e.Number == 0 {
			return nil, errors.New("an entry without id, node or number")
		}
		found = append(found, chained{e, text, hashLine(text)})
	}
	if len(found) == 0 {
		return nil, errors.New("an empty record")
	}
	return found, nil
}

// readChunk bounds the records of one read.
const readChunk = 256

// eachRecord calls f for every record after a sequence.
func eachRecord(
	ctx context.Context, s store.Store, log string, after uint64, f func(store.Record) error,
) error {
	for {
		records, err := s.Read(ctx, log, after, readChunk)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := f(r); err != nil {
				return err
			}
			after = r.Sequence
		}
		if len(records) < readChunk {
			return nil
		}
	}
}
