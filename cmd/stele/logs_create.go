package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newLogsCreateCmd() *cobra.Command {
	var f clientFlags
	var n client.NewLog
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a log, with new keys",
		Long: `Create creates a log. Its name, which is part of its URL, is 1 to 63 of a-z, 0-9
and "-". Its origin, which cannot be changed later, identifies it in checkpoints and
keys; the URL it will be found at, without scheme, is best. It prints the same as
"stele logs show".`,
		Example: `  stele logs create doors
  stele logs create doors --origin logs.example.com/doors --mldsa44 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			c, err := f.client()
			if err != nil {
				return err
			}
			info, err := c.CreateLog(cmd.Context(), n)
			if err != nil {
				return f.explain(err)
			}
			if n.Origin == "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "the origin %s is permanent; --origin chooses another when a log is created\n", info.Origin)
			}
			return printLog(cmd.OutOrStdout(), info, f.json)
		},
	}
	f.register(cmd)
	registerSettings(cmd.Flags(), &n.LogSettings)
	cmd.Flags().StringVar(&n.Origin, "origin", "", "the log's origin (default: the server's origin prefix and the name)")
	cmd.Flags().BoolVar(&n.MLDSA44, "mldsa44", false, "sign with an ML-DSA-44 key too, which withstands quantum computers")
	return cmd
}
