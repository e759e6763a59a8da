package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/config"
	"pointsman/probes"
	"pointsman/steering"
)

// ErrUnknown says that a configuration has nothing of that name.
var ErrUnknown = errors.New("unknown name")

// Checked is what Check found in a config, in the order of the file.
type Checked struct {
	Warnings []config.Finding
	// Notes are about who runs the check rather than the config: no matter for --strict.
	Notes    []config.Finding
	Mistakes []config.Finding // those with a place; all of them are in Check's error
	Summary  string           // what the config says, in one line; empty when it was refused
}

// Check validates a configuration: everything that New would do, short of opening sockets and
// stores. A refused one is an ErrConfig that lists every mistake.
func Check(o Options) (Checked, error) {
	c, report, err := o.load()
	found := Checked{Warnings: report.Warnings, Mistakes: report.Mistakes}
	if err != nil {
		return found, err
	}
	in, err := convert(c, report)
	if err != nil {
		return found, err
	}
	found.Warnings = report.Warnings // those of zones are there now
	if err := in.loadGeo(c, report); err != nil {
		return found, err
	}
	found.Warnings = append(found.Warnings, in.agedGeo(report, time.Now())...)
	mistake, warning := checkStateDir(c)
	if mistake != "" {
		bad := []pathMistake{complaint("state_dir", mistake)}
		return found, fmt.Errorf("%w: %w", ErrConfig, located(report, bad))
	}
	if warning != "" {
		found.Warnings = append(found.Warnings, report.Source.Finding("state_dir", warning))
	}
	weak, err := checkKeys(c, report)
	found.Warnings = append(found.Warnings, weak...)
	if err != nil {
		return found, err
	}
	if found.Notes, err = o.checkUser(c, report); err != nil {
		return found, err
	}
	lacking, unfetched := in.received.findings(c, report)
	found.Warnings = append(found.Warnings, lacking...)
	found.Notes = append(found.Notes, unfetched...)
	if in.steers() {
		_, err := steering.Compile(steering.Inputs{Version: 1, Now: time.Now(), Spec: in.spec,
			Countries: in.geo.Locator})
		if err != nil {
			return found, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if _, err := serverTLS(c.Admin.TLS); err != nil {
		return found, fmt.Errorf("%w: admin.tls: %w", ErrConfig, err)
	}
	found.Summary = summary(c)
	return found, nil
}

func summary(c *config.Config) string {
	count := func(n int, one string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %ss", n, one)
	}
	return strings.Join([]string{count(len(c.Zones), "zone"), count(len(c.Hosts), "steered name"),
		count(len(c.Backends), "backend"), count(len(c.Providers), "provider")}, ", ")
}

// Probe probes the named backends of a configuration once, or all when none is named.
func Probe(ctx context.Context, o Options, names []string) ([]probes.Sample, error) {
	c, report, err := o.load()
	if err != nil {
		return nil, err
	}
	in, err := convert(c, report)
	if err != nil {
		return nil, err
	}
	var have []string
	for _, t := range in.targets {
		have = append(have, t.Backend)
	}
	for _, n := range names {
		if !slices.Contains(have, n) {
			return nil, fmt.Errorf("%w: no backend with a probe is named %q; there are: %s",
				ErrUnknown, n, strings.Join(have, ", "))
		}
	}
	prober := probes.NewProber(probes.ProberConfig{Vantage: c.Vantage})
	var out []probes.Sample
	for _, t := range in.targets {
		if len(names) == 0 || slices.Contains(names, t.Backend) {
			out = append(out, prober.Probe(ctx, t))
		}
	}
	return out, nil
}
