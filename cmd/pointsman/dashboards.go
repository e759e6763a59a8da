package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/dashboards"
)

func newDashboards() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "dashboards",
		Short: "Write the Grafana dashboards to a folder",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := dashboards.Export(dir)
			if err != nil {
				return err
			}
			for _, n := range names {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "folder to write to; it is made when missing")
	return c
}
