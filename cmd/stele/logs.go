package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newLogsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "List, show and create the logs of a server",
	}
	cmd.AddCommand(newLogsListCmd(), newLogsShowCmd(), newLogsCreateCmd())
	return cmd
}

func newLogsListCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the logs of a server",
		Long: `List prints the logs of a server: name, size, how many entries the newest
checkpoint covers, and origin. With --json it prints an object with an array,
logs, of what "stele logs show --json" prints.`,
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

func newLogsShowCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a log: origin, keys, size",
		Long: `Show prints what the server says of a log. With --json it prints an object with
name, origin, vkey (the Ed25519 verifier key), vkeys (all of them), created,
size, published and, if the log has a problem, problem.

Keys from here are as good as your trust in the server. Who verifies a log gets
its keys from elsewhere.`,
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
			return f.printLog(cmd.OutOrStdout(), info)
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	return cmd
}

func newLogsCreateCmd() *cobra.Command {
	var f clientFlags
	var n client.NewLog
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a log, with new keys",
		Long: `Create makes a log. Its name, in URLs, has 1 to 63 of a-z, 0-9 and "-". Its origin
names it in checkpoints and keys for ever: best the URL it will be found at,
without scheme. It prints what "stele logs show" does.`,
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
			return f.printLog(cmd.OutOrStdout(), info)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&n.Origin, "origin", "", "the log's origin (default: the server's origin prefix and the name)")
	cmd.Flags().BoolVar(&n.MLDSA44, "mldsa44", false, "sign with an ML-DSA-44 key too, which withstands quantum computers")
	return cmd
}

// maxShown is the size of the longest key that is shown in full, in bytes: those
// for Ed25519 are shorter with any origin, those for ML-DSA-44 are not.
const maxShown = 320

func (f *clientFlags) printLog(w io.Writer, l client.LogInfo) error {
	if f.json {
		return printJSON(w, l)
	}
	fmt.Fprintf(w, "%s\n  origin     %s\n  size       %d, of which %d published\n  created    %s\n",
		l.Name, l.Origin, l.Size, l.Published, l.Created.Format(time.RFC3339))
	for _, vkey := range l.VKeys {
		if len(vkey) > maxShown {
			vkey = vkey[:len(l.Origin)+60] + "... (all of it with --json)"
		}
		fmt.Fprintf(w, "  key        %s\n", vkey)
	}
	if l.Problem != "" {
		fmt.Fprintf(w, "  problem    %s\n", l.Problem)
	}
	return nil
}
