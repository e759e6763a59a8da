package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"

	"pointsman/internal/store"
	"pointsman/steering"
	"pointsman/steering/control"
)

// guidanceKey is where a node keeps the guidance that it follows, apart from its state: that is
// written with each change of health, and guidance may be large.
const guidanceKey = "node/guidance"

// restoreGuidance goes on with the guidance that was followed before the restart, however old: the
// engine lets it fade.
func (a *App) restoreGuidance(ctx context.Context, s store.Store, e *steering.Engine) {
	entry, err := s.Get(ctx, guidanceKey)
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	var g control.Guidance
	if err == nil {
		g, err = unpackGuidance(entry.Value)
	}
	if err == nil && g.Newer(control.Guidance{}) {
		err = e.SetGuidance(g)
	}
	if err != nil {
		a.log.Warn("last known guidance not restored", "err", err)
	}
}

// packGuidance writes guidance as JSON, compressed: a store takes no value above 1 MiB, and a
// thousand resolvers for each of many places are more than that.
func packGuidance(g control.Guidance) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(w).Encode(g), w.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpackGuidance(raw []byte) (g control.Guidance, err error) {
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return g, err
	}
	return g, json.NewDecoder(r).Decode(&g)
}

// sameGuidance reports whether two need not be told apart on disk: one that was cleared has the
// number of the one before.
func sameGuidance(a, b control.Guidance) bool {
	return a.Epoch == b.Epoch && a.Seq == b.Seq && a.Zero() == b.Zero()
}

// writeGuidance writes the guidance that is followed when it is not the one written last. A failed
// write costs smoothness after the next start, no more; it is tried again.
func (a *App) writeGuidance(ctx context.Context, last *control.Guidance) {
	g := a.parts.engine.Guidance()
	if sameGuidance(g, *last) {
		return
	}
	raw, err := packGuidance(g)
	if err == nil {
		err = store.CheckValue(raw)
	}
	if err != nil {
		a.log.Error("last known guidance not encoded", "err", err)
		*last = g // it will be no other next time
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	if _, err = a.parts.local.Put(ctx, guidanceKey, raw, store.PutOptions{}); err != nil {
		a.metrics.stateFailures.Inc()
		return
	}
	*last = g
}
