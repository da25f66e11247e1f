package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/storage/postgres"
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

The server works as a role that belongs to this database alone, and may only read and
insert. Migrate creates it, and prints its name, for you to grant to the server's user.
docs/operations.md has the roles and users as one block.`,
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
				fmt.Fprintf(cmd.OutOrStdout(), "schema is at version %d, nothing to do\n", to)
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "schema migrated from version %d to %d\n", from, to)
			}
			if !store.isPostgres() {
				return nil
			}
			role, err := postgres.Role(cmd.Context(), store.database)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "servers work as the role %s; for each of their users run: GRANT %[1]s TO user\n", role)
			return nil
		},
	}
	store.register(cmd)
	store.registerRole(cmd)
	return cmd
}
