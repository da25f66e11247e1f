package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newLogsListCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the logs of a server",
		Long: `List prints the logs of a server: name, size, how many entries the newest
checkpoint covers, and origin. With --json it prints an object whose array logs
has what "stele logs show --json" prints of each log.`,
		Example: `  stele logs list
  stele logs list --json | jq -r '.logs[].name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			logs, err := c.Logs(cmd.Context())
			if err != nil {
				return f.explain(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string][]client.LogInfo{"logs": logs})
			}
			return printLogs(cmd.OutOrStdout(), logs)
		},
	}
	f.register(cmd)
	return cmd
}

func printLogs(w io.Writer, logs []client.LogInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSIZE\tPUBLISHED\tORIGIN")
	for _, l := range logs {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s", l.Name, l.Size, l.Published, l.Origin)
		if l.Problem != "" {
			fmt.Fprintf(t, "\tproblem: %s", l.Problem)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
