package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/app"
)

// probed is one probe as JSON shows it.
type probed struct {
	Backend     string     `json:"backend"`
	Target      string     `json:"target"`
	Outcome     string     `json:"outcome"`
	Detail      string     `json:"detail,omitempty"`
	Status      int        `json:"status,omitempty"`
	Remote      string     `json:"remote,omitempty"`
	CertExpires *time.Time `json:"cert_expires,omitempty"`
	DNS         float64    `json:"dns_ms"`
	Connect     float64    `json:"connect_ms"`
	TLS         float64    `json:"tls_ms"`
	FirstByte   float64    `json:"first_byte_ms"`
	Total       float64    `json:"total_ms"`
}

func newProbe() *cobra.Command {
	f := &configFlags{}
	var asJSON bool
	c := &cobra.Command{
		Use:   "probe [BACKEND ...]",
		Short: "Probe the config's backends once, here and now, and show each phase",
		Long: "Probe the named backends of a config once, or all of them, from this machine and without a\n" +
			"node. Exit codes: 0 all good, 1 some are not, 2 usage or config.",
		Example: "  pointsman probe --config /etc/pointsman/pointsman.yaml fastly",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			samples, err := app.Probe(cmd.Context(), o, args)
			if err != nil {
				return configExit(err)
			}
			list, bad := []probed{}, 0
			for _, s := range samples {
				p := probed{Backend: s.Backend, Target: s.Target, Outcome: string(s.Outcome),
					Detail: s.Detail, Status: s.Status, DNS: ms(s.Phases.DNS),
					Connect: ms(s.Phases.Connect), TLS: ms(s.Phases.TLS),
					FirstByte: ms(s.Phases.FirstByte), Total: ms(s.Phases.Total)}
				if s.Remote.IsValid() {
					p.Remote = s.Remote.String()
				}
				if !s.CertExpires.IsZero() {
					p.CertExpires = &s.CertExpires
				}
				if !s.OK() {
					bad++
				}
				list = append(list, p)
			}
			if err := writeProbed(cmd, list, asJSON); err != nil {
				return err
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d backends are not good", bad, len(list))
			}
			return nil
		},
	}
	f.bindFile(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeProbed(cmd *cobra.Command, list []probed, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	t := table(cmd.OutOrStdout(),
		"BACKEND OUTCOME DNS CONNECT TLS FIRST-BYTE TOTAL STATUS CERTIFICATE REMOTE DETAIL")
	for _, p := range list {
		phase := func(v float64) string { return millis(time.Duration(v * float64(time.Millisecond))) }
		status, cert := "-", "-"
		if p.Status > 0 {
			status = fmt.Sprint(p.Status)
		}
		if p.CertExpires != nil {
			cert = certLine(time.Now(), *p.CertExpires)
		}
		t.add(p.Backend, p.Outcome, phase(p.DNS), phase(p.Connect), phase(p.TLS),
			phase(p.FirstByte), phase(p.Total), status, cert, p.Remote, p.Detail)
	}
	return t.flush("no backend has a probe")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// configExit gives a refused config, and a name that it does not have, the exit code of usage.
func configExit(err error) error {
	if errors.Is(err, app.ErrConfig) || errors.Is(err, app.ErrUnknown) {
		return exitError{exitUsage, err}
	}
	return err
}
