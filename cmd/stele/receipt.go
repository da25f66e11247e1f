package main

import (
	"bytes"
	"os"

	"github.com/spf13/cobra"
)

func newReceiptCmd() *cobra.Command {
	var f clientFlags
	var out string
	var wait bool
	cmd := &cobra.Command{
		Use:   "receipt INDEX",
		Short: "Get the receipt of an entry",
		Long: `Receipt prints the receipt of the entry at an index, a C2SP tlog-proof: with it
and the entry, "stele verify receipt" proves offline that the entry is in the
log. With --json it prints an object with index and receipt.`,
		Example: `  stele receipt 41 -o 41.tlog-proof
  stele receipt 41 --wait > 41.tlog-proof`,
		Args: indexArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex(args[0])
			if err != nil {
				return err
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			receipt, err := c.Receipt(cmd.Context(), index, wait)
			if err != nil {
				return f.explain(err)
			}
			if f.json {
				var text bytes.Buffer
				if err := printJSON(&text, receiptOf{index, string(receipt)}); err != nil {
					return err
				}
				receipt = text.Bytes()
			}
			if out != "" {
				return os.WriteFile(out, receipt, 0o644)
			}
			_, err = cmd.OutOrStdout().Write(receipt)
			return err
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write the receipt to (default: standard output)")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for a checkpoint that covers the entry, if there is none yet")
	return cmd
}

// A receiptOf is what --json prints.
type receiptOf struct {
	Index   uint64 `json:"index"`
	Receipt string `json:"receipt"`
}
