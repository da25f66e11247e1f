package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func newWitnessPauseCmd() *cobra.Command {
	return newWitnessPausingCmd(true, &cobra.Command{
		Use:   "pause ORIGIN",
		Short: "Sign nothing for a log until it is resumed",
		Long: `Pause makes the witness refuse to sign for a log, from the next request on. It
still remembers what it has signed: nothing can make a witness forget a log.`,
		Example: `  stele witness pause log.example.com/audit`,
	})
}

func newWitnessResumeCmd() *cobra.Command {
	return newWitnessPausingCmd(false, &cobra.Command{
		Use:     "resume ORIGIN",
		Short:   "Sign again for a log that was paused",
		Example: `  stele witness resume log.example.com/audit`,
	})
}

func newWitnessPausingCmd(paused bool, cmd *cobra.Command) *cobra.Command {
	var f witnessStoreFlags
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withExisting(cmd.Context(), func(db *witnessdb.DB) error {
			err := db.SetPaused(cmd.Context(), args[0], paused)
			if errors.Is(err, witness.ErrUnknownLog) {
				err = fmt.Errorf("the witness does not follow a log of the origin %q; see stele witness list", args[0])
			}
			return err
		})
	}
	f.register(cmd)
	return cmd
}
