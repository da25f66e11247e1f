package main

import "github.com/spf13/cobra"

func newLogsCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "logs",
		Short: "List, show and create the logs of a server",
	}, newLogsListCmd(), newLogsShowCmd(), newLogsCreateCmd())
}
