package app

import (
	"cmp"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/config"
	"pointsman/steering/tap"
)

// newTap makes what writes down a sample of the nameserver's answers; nil when the config wants
// nothing written down.
func (a *App) newTap(c *config.Config, reg prometheus.Registerer) (*tap.Tap, error) {
	if c.DNS.Dnstap == nil && c.DNS.DecisionLog == nil {
		return nil, nil
	}
	to := tap.Config{Logger: a.log, Registerer: reg}
	if d := c.DNS.Dnstap; d != nil {
		to.Dnstap = &tap.DnstapConfig{To: d.To, Sample: d.Sample,
			Messages: tap.Messages(d.Messages), Identity: cmp.Or(d.Identity, c.Node),
			Version: "pointsman " + a.opts.Version, MaxSize: int64(d.MaxSize), Keep: d.Keep}
	}
	if d := c.DNS.DecisionLog; d != nil {
		file, err := filepath.Abs(d.File)
		if err != nil {
			return nil, err
		}
		to.Decisions = &tap.DecisionConfig{File: file, Sample: d.Sample,
			Client: tap.Client(d.Client), MaxSize: int64(d.MaxSize), Keep: d.Keep, Tables: d.Tables}
	}
	return tap.New(to)
}
