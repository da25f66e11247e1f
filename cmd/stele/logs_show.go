package main

import "github.com/spf13/cobra"

func newLogsShowCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a log: origin, keys, size",
		Long: `Show prints a log's origin, size and verifier keys, and the server that writes to it.
With --json it prints an object with name, origin, vkey (the Ed25519 verifier key),
vkeys (all of them), created, size, published, writer (the URL of that server, where
it is known) and, if the log has a problem, problem.

These keys are only as trustworthy as this server; verifiers need them from
elsewhere.`,
		Example: `  stele logs show
  stele logs show doors --json | jq -r .vkey > doors.vkey`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.log = args[0]
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			info, err := c.Info(cmd.Context())
			if err != nil {
				return f.explain(err)
			}
			return printLog(cmd.OutOrStdout(), info, f.json)
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	return cmd
}
