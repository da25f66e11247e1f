package main

import "github.com/spf13/cobra"

func newGetCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "get INDEX",
		Short: "Get an entry",
		Long: `Get prints the entry at an index, byte for byte: it is JSON, with or without
--json. A newline is added only on a terminal.

The server could send anything: "stele verify receipt" proves that the entry is in
the log.`,
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
			if isTerminal(cmd.OutOrStdout()) {
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
