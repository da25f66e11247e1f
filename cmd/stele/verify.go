package main

import "github.com/spf13/cobra"

func newVerifyCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "verify",
		Short: "Verify what a log has handed out, offline",
	}, newVerifyReceiptCmd(), newVerifyHeadsCmd(), newVerifyContradictionCmd())
}
