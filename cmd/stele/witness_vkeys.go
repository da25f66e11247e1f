package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/witnesskeys"
)

func newWitnessVKeysCmd() *cobra.Command {
	var f witnessStoreFlags
	cmd := &cobra.Command{
		Use:   "vkeys",
		Short: "Print the witness's verifier keys",
		Long: `Vkeys prints the verifier keys of the witness, one a line: Ed25519, which all logs
understand, and then ML-DSA-44, which withstands quantum computers. They are made
when the witness is first served. Whoever trusts the witness needs one of them.`,
		Example: `  echo "witness w1 $(stele witness vkeys | head -1) http://127.0.0.1:8081" >> policy.txt`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ed25519, mldsa44, err := witnesskeys.Folder(f.data).Read()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join([]string{ed25519.VKey(), mldsa44.VKey()}, "\n"))
			return err
		},
	}
	f.register(cmd)
	return cmd
}
