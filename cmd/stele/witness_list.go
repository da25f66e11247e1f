package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func newWitnessListCmd() *cobra.Command {
	var f witnessStoreFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the logs that the witness follows",
		Long: `List prints the logs that the witness follows: the size of the newest checkpoint
signed, when it was last signed, whether the log is paused, and its origin. With
--json it prints an object with an array, logs, of objects with origin, vkeys,
size, root, signed_at (if it was), paused, listed (it came from a log list) and qpd
(checkpoints a day, if limited).`,
		Example: `  stele witness list
  stele witness list --json | jq -r '.logs[] | select(.paused) | .origin'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withExisting(cmd.Context(), func(db *witnessdb.DB) error {
				logs, err := db.Logs(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), map[string][]witnessedLog{"logs": witnessedLogs(logs)})
				}
				return printWitnessed(cmd.OutOrStdout(), logs)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A witnessedLog is a log that a witness follows, as JSON.
type witnessedLog struct {
	Origin   string     `json:"origin"`
	VKeys    []string   `json:"vkeys"`
	Size     uint64     `json:"size"`
	Root     tree.Hash  `json:"root"`
	SignedAt *time.Time `json:"signed_at,omitempty"`
	Paused   bool       `json:"paused"`
	Listed   bool       `json:"listed"`
	QPD      uint64     `json:"qpd,omitempty"`
}

func witnessedLogs(logs []witness.Log) []witnessedLog {
	out := make([]witnessedLog, len(logs))
	for i, l := range logs {
		out[i] = witnessedLog{Origin: l.Origin, VKeys: l.VKeys, Size: l.Size, Root: l.Root,
			Paused: l.Paused, Listed: l.Listed, QPD: l.QPD}
		if !l.SignedAt.IsZero() {
			out[i].SignedAt = &logs[i].SignedAt
		}
	}
	return out
}

func printWitnessed(w io.Writer, logs []witness.Log) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SIZE\tSIGNED\tSTATE\tORIGIN")
	for _, l := range logs {
		signed, state := "never", "followed"
		if !l.SignedAt.IsZero() {
			signed = l.SignedAt.Format(time.RFC3339)
		}
		if l.Paused {
			state = "paused"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", l.Size, signed, state, l.Origin)
	}
	return t.Flush()
}
