package main

import "github.com/spf13/cobra"

func newExportCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "export",
		Short: "Write what a log has signed to a file for the archive",
	}, newExportHeadsCmd())
}
