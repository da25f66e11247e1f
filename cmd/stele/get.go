package main

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newGetCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "get INDEX",
		Short: "Get an entry",
		Long: `Get prints the entry at an index, byte for byte: it is JSON, with or without
--json. Only on a terminal a line end is added.

The server could send anything: "stele verify receipt" proves that it is in the
log.`,
		Example: `  stele get 41 > 41.json
  stele get 41 | jq .data`,
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
			entry, err := c.Entry(cmd.Context(), index)
			if err != nil {
				return f.explain(err)
			}
			if out, ok := cmd.OutOrStdout().(*os.File); ok && term.IsTerminal(int(out.Fd())) {
				entry = append(entry, '\n')
			}
			_, err = cmd.OutOrStdout().Write(entry)
			return err
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	return cmd
}
