package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/dashboards"
)

func newDashboards() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:     "dashboards",
		Short:   "Write the Grafana dashboards to a folder",
		Example: "  pointsman dashboards --dir /var/lib/grafana/dashboards",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := dashboards.Export(dir)
			for _, n := range names {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "`FOLDER` to write to; it is made when missing")
	return c
}
