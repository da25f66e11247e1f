package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newHealthCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a server whether events can be appended",
		Long: `Health asks a server once, at /readyz, whether its database answers and events can be
appended to at least one log, or to the log that is named. It prints what is wrong
with each log.

Exit status: 0 if they can, 1 if they cannot or nothing answers. It is what a container
or a service manager runs as a check of health.`,
		Example: `  stele health
  stele health --url https://logs.example.com --log doors --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			h, err := c.Health(ctx, f.log)
			if err != nil {
				return f.explain(err)
			}
			if err := printHealth(cmd.OutOrStdout(), h, f.json); err != nil {
				return err
			}
			if h.Status != "ok" {
				return errors.New(cmp.Or(h.Reason, h.Status))
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.log, "log", "", "name of the log (default: any)")
	return cmd
}

func printHealth(w io.Writer, h client.Health, asJSON bool) error {
	if asJSON {
		return printJSON(w, h)
	}
	fmt.Fprintln(w, h.Status)
	for _, name := range slices.Sorted(maps.Keys(h.Logs)) {
		fmt.Fprintf(w, "  %s: %s\n", name, h.Logs[name])
	}
	return nil
}
