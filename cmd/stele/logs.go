package main

import "github.com/spf13/cobra"

func newLogsCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "logs",
		Short: "List, show, create and set the logs of a server",
	}, newLogsListCmd(), newLogsShowCmd(), newLogsCreateCmd(), newLogsSetCmd())
}
