package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot returns the command with all its subcommands. It sets understood once a
// subcommand, its flags and its arguments are.
func newRoot(understood *bool) *cobra.Command {
	root := newGroup(&cobra.Command{
		Use:   "stele",
		Short: "An immutable audit log that anyone can check",
		Long: `Stele is an immutable audit log. Applications send it events; it appends them to
a Merkle tree, signs the tree's head, and proves to anyone, offline, that an
event is in the log and that the log has only ever grown.

Start one:         stele serve
See one live:      stele demo
Send events:       stele append events.ndjson
Get a receipt:     stele receipt 41 > 41.tlog-proof
Check everything:  stele check http://127.0.0.1:8080/logs/default --key "$VKEY"

Each flag can also be set in the environment: --checkpoint-interval is
STELE_CHECKPOINT_INTERVAL.

Exit status: 0 if all went well; 1 if something failed, was refused or does not
verify; 2 if the command was not understood; 3, of what checks and verifies, if it
could not be checked.`,
		Version:       thisBuild().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := bindEnv(cmd.Flags()); err != nil {
				return err
			}
			if err := cmd.ValidateRequiredFlags(); err != nil {
				return err
			}
			*understood = true
			return nil
		},
	}, newVersionCmd())
	root.SetVersionTemplate("stele {{.Version}}\n")
	// The line of use of a group names its COMMAND already.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}", "", 1))
	root.AddGroup(
		&cobra.Group{ID: "server", Title: "Run a log:"},
		&cobra.Group{ID: "client", Title: "Use a log:"},
		&cobra.Group{ID: "access", Title: "Say who may do what:"},
		&cobra.Group{ID: "verify", Title: "Check a log, trusting nobody:"},
	)
	add(root, "server", newServeCmd(), newDemoCmd(), newMigrateCmd(), newKeygenCmd(), newRestoreCmd(), newWitnessCmd())
	add(root, "client", newHealthCmd(), newLogsCmd(), newAppendCmd(), newImportCmd(), newReceiptCmd(), newGetCmd())
	add(root, "access", newKeysCmd(), newGrantsCmd(), newLimitsCmd(), newIssuersCmd(), newApplyCmd(), newLoginCmd(), newLogoutCmd(), newWhoamiCmd(), newStateCmd())
	add(root, "verify", newVerifyCmd(), newCheckCmd(), newAuditCmd(), newMirrorCmd(), newExportCmd())
	return root
}

func add(root *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		cmd.GroupID = group
		root.AddCommand(cmd)
	}
}

// bindEnv sets each flag that was not given from the environment: listen from
// STELE_LISTEN.
func bindEnv(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "STELE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			// The value is left out: it may be a secret.
			errs = append(errs, fmt.Errorf("%s in the environment is not a value for --%s", name, f.Name))
			return
		}
		_ = flags.SetAnnotation(f.Name, fromEnv, nil) // the flag is there
	})
	return errors.Join(errs...)
}
