package main

import "github.com/spf13/cobra"

func newWitnessCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "witness",
		Short: "Run a witness, which cosigns the checkpoints of logs",
		Long: `A witness remembers the newest checkpoint of each log that it follows, and cosigns
another only if the log's tree has grown out of that one. If enough witnesses that
you trust have cosigned a checkpoint, the log has shown everybody the same history.
It speaks C2SP tlog-witness (https://c2sp.org/tlog-witness), for logs of any make.

  stele witness add-log "$(stele logs show --json | jq -r .vkey)"
  stele witness serve --name witness.example.com/w1

Put the verifier keys that serve and vkeys print into the policies of logs, which
"stele witness policy" writes.

Logs can be added, paused and resumed while the witness runs. A witness is worth
most when it is not run by the operator of the logs. It must never forget what it
has signed: do not restore its data from a backup; set up a new witness instead.`,
	}, newWitnessServeCmd(), newWitnessAddLogCmd(), newWitnessAddListCmd(), newWitnessListCmd(),
		newWitnessPauseCmd(), newWitnessResumeCmd(), newWitnessVKeysCmd(), newWitnessPolicyCmd())
}
