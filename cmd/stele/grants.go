package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

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
  auditor  read everything, the server's own logs too, and change nothing
  admin    change the configuration: keys, grants, limits, logs; only on all logs, *
  officer  holds, retention and erasure, which no other role includes

A log is a name, the beginning of one with * after it, or * for all. Checkpoints, hash
tiles and consistency proofs are public, so that witnesses and verifiers need no key.
Every grant, and every end of one, is an event in the log named system.`,
	}, newGrantsAddCmd(), newGrantsRemoveCmd(), newGrantsListCmd(), newGrantsExplainCmd())
}

func newGrantsAddCmd() *cobra.Command {
	var f adminFlags
	var g client.Grant
	var until string
	cmd := &cobra.Command{
		Use:   "add (PRINCIPAL | --claim CLAIM) ROLE LOG",
		Short: "Give a role to a principal, or to all with a claim",
		Long: `Add gives a principal a role on a log; with --claim, everybody whose token says so.
A reader's --filter is a query, see docs/query.md: the reader gets entries and receipts
that match it, one by one, and no bundles. {claims.NAME} in it stands for a claim of the
reader's key or token. A writer's --source keeps it to events whose source begins so.`,
		Example: `  stele grants add billing writer billing
  stele grants add ann auditor '*' --until 30d
  stele grants add portal reader default --filter 'subject:{claims.tenant}'
  stele grants add edge writer doors --source /berlin/
  stele grants add --claim corp:groups=audit auditor '*'`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (g.Claim == "") != (len(args) == 3) {
				return exitError{errors.New("give PRINCIPAL ROLE LOG, or --claim and ROLE LOG"), exitUsage}
			}
			if g.Claim == "" {
				g.Principal, args = args[0], args[1:]
			}
			g.Role, g.Log = args[0], args[1]
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
	cmd.Flags().StringVar(&g.Claim, "claim", "", "ISSUER:NAME=VALUE: everybody whose token of that issuer has this claim, such as corp:groups=audit")
	cmd.Flags().StringVar(&g.Filter, "filter", "", "query that an entry must match for a reader to see it")
	cmd.Flags().StringVar(&g.Source, "source", "", "what the source of a writer's events must begin with")
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
			return f.change(cmd, map[string]string{"removed": args[0]}, "removed: "+args[0], func(c *client.Client) error {
				return c.RemoveGrant(cmd.Context(), args[0])
			})
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
			return list(cmd, &f, "grants", func(c *client.Client) ([]client.Grant, error) { return c.Grants(cmd.Context()) }, printGrants)
		},
	}
	f.register(cmd)
	return cmd
}

func newGrantsExplainCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "explain PRINCIPAL ROLE LOG",
		Short: "Say why somebody may, or may not, do something",
		Long: `Explain prints whether a principal has a role on a log, and what each of its grants has
to do with that. Grants by a claim depend on a token: "stele whoami" with that token shows
them. It takes the role admin or auditor.

It exits with 1 if the principal does not have the role.`,
		Example: `  stele grants explain portal reader default`,
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.admin()
			if err != nil {
				return err
			}
			e, err := c.Explain(cmd.Context(), args[0], args[1], args[2])
			if err != nil {
				return f.explain(err)
			}
			w := cmd.OutOrStdout()
			if f.json {
				err = printJSON(w, e)
			} else {
				err = printExplanation(w, e)
			}
			if err == nil && !e.Allowed {
				return fmt.Errorf("%s does not have the role %s on %s", e.Principal, e.Role, e.Log)
			}
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func printExplanation(w io.Writer, e client.Explanation) error {
	verdict := "may not act"
	if e.Allowed {
		verdict = "may act"
	}
	fmt.Fprintf(w, "%s %s as %s on %s\n", e.Principal, verdict, e.Role, e.Log)
	if e.Filter != "" {
		fmt.Fprintf(w, "  entries     %s\n", e.Filter)
	}
	if len(e.Sources) > 0 {
		fmt.Fprintf(w, "  source      begins with %s\n", strings.Join(e.Sources, " or "))
	}
	if e.Keys == 0 {
		fmt.Fprintln(w, "  keys        none: without a key or a token it cannot say who it is")
	}
	for _, r := range e.Reasons {
		verdict := "no"
		if r.Counts {
			verdict = "yes"
		}
		fmt.Fprintf(w, "  %s  %-3s %s\n", r.Grant.ID, verdict, r.Why)
	}
	if len(e.Reasons) == 0 {
		fmt.Fprintln(w, "  it has no grant")
	}
	return nil
}
