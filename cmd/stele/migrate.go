package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newMigrateCmd() *cobra.Command {
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: `Migrate brings the database's schema up to date, as serve does when it starts. Run
it separately where the server's database user may not change the schema:

  stele migrate --database postgres://owner@host/db
  stele serve --migrate=false --database postgres://app@host/db

It creates the role stele_server, which may only read and insert; grant it to the
server's user: GRANT stele_server TO app;`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := store.check(); err != nil {
				return err
			}
			if !store.isPostgres() {
				if err := store.makeDataDir(); err != nil {
					return err
				}
			}
			from, to, err := store.migrate(cmd.Context())
			if err != nil {
				return err
			}
			if from == to {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "schema is at version %d, nothing to do\n", to)
			} else {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "schema migrated from version %d to %d\n", from, to)
			}
			return err
		},
	}
	store.register(cmd)
	return cmd
}
