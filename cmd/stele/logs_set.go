package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newLogsSetCmd() *cobra.Command {
	var f adminFlags
	var s client.LogSettings
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a log's settings",
		Long: `Set changes what of a log is public, and whose reads of it are recorded. What is not
given stays as it is. Of a log of which nothing is public, nobody without a role on it
learns that there is one; its verifiers then need a key. It takes the role admin.`,
		Example: `  stele logs set hr --public nothing --reads all`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s == (client.LogSettings{}) {
				return exitError{errors.New("give --public, --reads or both"), exitUsage}
			}
			f.log = args[0]
			changed := struct {
				Name string `json:"name"`
				client.LogSettings
			}{f.log, s}
			return f.change(cmd, changed, fmt.Sprintf("changed: %s", f.log), func(c *client.Client) error { return c.ChangeLog(cmd.Context(), s) })
		},
	}
	f.register(cmd)
	registerSettings(cmd.Flags(), &s)
	return cmd
}
