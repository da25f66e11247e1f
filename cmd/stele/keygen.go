package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
)

func newKeygenCmd() *cobra.Command {
	var out string
	var mldsa44, asJSON bool
	cmd := &cobra.Command{
		Use:   "keygen ORIGIN",
		Short: "Make a signing key for a log",
		Long: `Keygen makes a signing key for the log with that origin, writes it to a file that
only you can read, and prints its verifier key, which others need to verify the log.

A server makes the keys of its logs itself. To bring your own, put the file where
the server looks for it before you create the log:

  stele keygen example.com/audit --out stele-data/logs/audit/ed25519.key
  stele logs create audit --origin example.com/audit`,
		Example: `  stele keygen example.com/audit --out audit.key
  stele keygen example.com/audit --mldsa44 --out mldsa44.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			generate := func() (string, string, error) { return checkpoint.GenerateKey(rand.Reader, args[0]) }
			if mldsa44 {
				generate = func() (string, string, error) {
					return cosignature.GenerateKey(rand.Reader, cosignature.MLDSA44, args[0])
				}
			}
			skey, vkey, err := generate()
			if err != nil {
				return err
			}
			if err := durable.Create(durable.System, out, []byte(skey+"\n"), 0o600); err != nil {
				return fmt.Errorf("write key: %w", err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{"vkey": vkey, "file": out})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), vkey)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "ed25519.key", "file to write the signing key to; it must not exist")
	cmd.Flags().BoolVar(&mldsa44, "mldsa44", false, "make an ML-DSA-44 key, for a second signature beside Ed25519")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
