package main

import "github.com/spf13/cobra"

func newExportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what a log has signed to files for the archive",
	}
	cmd.AddCommand(newExportHeadsCmd())
	return cmd
}
