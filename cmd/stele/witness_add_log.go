package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/witness/witnessdb"
)

func newWitnessAddLogCmd() *cobra.Command {
	var f witnessStoreFlags
	cmd := &cobra.Command{
		Use:   "add-log VKEY [VKEY...]",
		Short: "Follow logs, given by their verifier keys",
		Long: `Add-log makes the witness follow the logs with these verifier keys, each given as
it is or as a file. The name of a key is the origin of its log. A log may have
several keys, at once or one after the other: a signature of any one of them is
enough. Keys that were added earlier stay.`,
		Example: `  stele witness add-log log.example.com/audit+5c4b1f3e+ARpc...
  stele witness add-log audit.vkey audit-mldsa44.vkey --data /var/lib/witness`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			origins, keys, err := readLogKeys(args)
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(db *witnessdb.DB) error {
				for _, origin := range origins {
					added, err := db.AddKeys(cmd.Context(), origin, keys[origin]...)
					if err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "following %s: %d of %d keys are new\n", origin, added, len(keys[origin]))
				}
				return nil
			})
		},
	}
	f.register(cmd)
	return cmd
}

// readLogKeys returns the verifier keys of logs by origin, and the origins in
// their order.
func readLogKeys(args []string) (origins []string, keys map[string][]string, err error) {
	keys = map[string][]string{}
	for _, arg := range args {
		vkey, err := loadKey(arg)
		if err != nil {
			return nil, nil, err
		}
		key, err := checkpoint.NewVerifier(vkey)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(origins, key.Name()) {
			origins = append(origins, key.Name())
		}
		keys[key.Name()] = append(keys[key.Name()], vkey)
	}
	return origins, keys, nil
}
