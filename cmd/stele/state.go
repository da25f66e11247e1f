package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newStateCmd() *cobra.Command {
	var f adminFlags
	var at string
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Show who may do what, now or at any time before",
		Long: `State prints the keys and grants of a server as its log named system makes them: now,
or with --at right after the entry with an index. "stele check" of that log, and receipts
of its entries, prove the answer. It takes the role admin or auditor.`,
		Example: `  stele state
  stele state --at 17 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var index *uint64
			if at != "" {
				n, err := parseIndex(at)
				if err != nil {
					return exitError{fmt.Errorf("--at: %w", err), exitUsage}
				}
				index = &n
			}
			c, err := f.admin()
			if err != nil {
				return err
			}
			s, err := c.State(cmd.Context(), index)
			if err != nil {
				return f.explain(err)
			}
			w := cmd.OutOrStdout()
			if f.json {
				return printJSON(w, s)
			}
			fmt.Fprintf(w, "after %d entries of the log system\n\n", s.Size)
			if err := printKeys(w, s.Keys); err != nil {
				return err
			}
			fmt.Fprintln(w)
			if err := printGrants(w, s.Grants); err != nil {
				return err
			}
			return printRest(w, s)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&at, "at", "", "index of an entry of the log system: show the state right after it")
	return cmd
}

// printRest prints what a state has besides keys and grants.
func printRest(w io.Writer, s client.State) error {
	if len(s.Logs) > 0 {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "LOG\tPUBLIC\tREADS\tMADE BY")
		for _, l := range s.Logs {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Name, l.Public, l.Reads, l.By)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(s.Limits) > 0 {
		fmt.Fprintln(w)
		if err := printLimits(w, s.Limits); err != nil {
			return err
		}
	}
	if len(s.Issuers) > 0 {
		fmt.Fprintln(w)
		return printIssuers(w, s.Issuers)
	}
	return nil
}
