package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/app"
)

func newProbe() *cobra.Command {
	f := &configFlags{}
	c := &cobra.Command{
		Use:     "probe [BACKEND ...]",
		Short:   "Probe the config's backends once, here and now, and show each phase",
		Example: "  pointsman probe --config /etc/pointsman/pointsman.yaml fastly",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			results, err := app.Probe(cmd.Context(), o, args)
			if err != nil {
				return configExit(err)
			}
			t := table(cmd.OutOrStdout(), "BACKEND OUTCOME DNS CONNECT TLS FIRST-BYTE TOTAL STATUS REMOTE DETAIL")
			bad := 0
			for _, r := range results {
				if !r.OK() {
					bad++
				}
				ms := func(d time.Duration) string {
					return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
				}
				p := r.Phases
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.Backend, r.Outcome,
					ms(p.DNS), ms(p.Connect), ms(p.TLS), ms(p.FirstByte), ms(p.Total), r.Status,
					r.Remote, r.Detail)
			}
			if err := t.Flush(); err != nil {
				return err
			}
			if bad > 0 {
				return exitError{exitFailed, errors.New("not every backend is good")}
			}
			return nil
		},
	}
	f.bind(c)
	c.Flags().StringVarP(&f.path, "config", "c", "", "config file (required)")
	_ = c.MarkFlagRequired("config")
	return c
}
