package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newGrantsCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "grants",
		Short: "Say who may do what",
		Long: `A grant gives a principal a role on a log. The roles:

  writer   append events
  reader   read entries: all, or those that a filter lets through
  auditor  read everything, the log named system too, and change nothing
  admin    make and change keys, grants and logs; only on all logs, *

A log is a name, the beginning of one with * after it, or * for all. Checkpoints, hash
tiles and consistency proofs are public, so that witnesses and verifiers need no key.
Every grant, and every end of one, is an event in the log named system.`,
	}, newGrantsAddCmd(), newGrantsRemoveCmd(), newGrantsListCmd())
}

func newGrantsAddCmd() *cobra.Command {
	var f adminFlags
	var filter, until string
	cmd := &cobra.Command{
		Use:   "add PRINCIPAL ROLE LOG",
		Short: "Give a principal a role",
		Long: `Add gives a principal a role on a log. A reader's --filter is a query, see
docs/query.md: the reader gets entries and receipts that match it, one by one, and no
bundles. {claims.NAME} in it stands for a claim of the reader's key.`,
		Example: `  stele grants add billing writer billing
  stele grants add ann auditor '*' --until 30d
  stele grants add portal reader default --filter 'subject:{claims.tenant}'`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			g := client.Grant{Principal: args[0], Role: args[1], Log: args[2], Filter: filter}
			var err error
			if g.Until, err = parseUntil(until); err != nil {
				return exitError{fmt.Errorf("--until: %w", err), exitUsage}
			}
			c, err := f.admin()
			if err != nil {
				return err
			}
			if g, err = c.AddGrant(cmd.Context(), g); err != nil {
				return f.explain(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), g)
			}
			return printGrants(cmd.OutOrStdout(), []client.Grant{g})
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&filter, "filter", "", "query that an entry must match for a reader to see it")
	cmd.Flags().StringVar(&until, "until", "", "when the grant ends: a date, a time as in RFC 3339, or how long from now, such as 30d (default: never)")
	return cmd
}

func newGrantsRemoveCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Take a grant back, at once",
		Long:  `Remove takes a grant back. The last grant of the role admin cannot be removed.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.admin()
			if err != nil {
				return err
			}
			if err := c.RemoveGrant(cmd.Context(), args[0]); err != nil {
				return f.explain(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"removed": args[0]})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "removed:", args[0])
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func newGrantsListCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List grants",
		Long:  `List prints all grants, by principal. It takes the role admin or auditor.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.admin()
			if err != nil {
				return err
			}
			grants, err := c.Grants(cmd.Context())
			if err != nil {
				return f.explain(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string][]client.Grant{"grants": grants})
			}
			return printGrants(cmd.OutOrStdout(), grants)
		},
	}
	f.register(cmd)
	return cmd
}
