package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func newWitnessAddListCmd() *cobra.Command {
	var f witnessStoreFlags
	cmd := &cobra.Command{
		Use:   "add-list URL|FILE",
		Short: "Follow the logs of a log list",
		Long: `Add-list makes the witness follow the logs of a list in the format of the witness
network (https://witness-network.org). It reads the list once; "stele witness serve
--log-list" reads it again and again. A list only adds: logs that the witness
already follows stay as they are. The witness signs no more checkpoints a day of a
log than the list allows.`,
		Example: `  stele witness add-list https://testing.witness-network.org/log-list.1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(db *witnessdb.DB) error {
				logs, err := witness.ReadLogList(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				added, skipped, err := witness.AddLogList(cmd.Context(), db, logs)
				for _, origin := range added {
					fmt.Fprintf(cmd.OutOrStdout(), "following %s\n", origin)
				}
				for _, reason := range skipped {
					fmt.Fprintf(cmd.ErrOrStderr(), "skipped %v\n", reason)
				}
				return err
			})
		},
	}
	f.register(cmd)
	return cmd
}
