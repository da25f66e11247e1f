package main

import (
	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newLimitsCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "limits",
		Short: "Say how much principals may ask for",
		Long: `A limit bounds what a principal may append a second, ask at a time, and create. What is
beyond it is answered with 429 and when to try again; a stream is slowed down instead.
The principal * stands for each that has no limit of its own. A server counts for itself:
two servers of one database let twice as much through.`,
	}, newLimitsSetCmd(), newLimitsRemoveCmd(), newLimitsListCmd())
}

func newLimitsSetCmd() *cobra.Command {
	var f adminFlags
	var l client.Limit
	cmd := &cobra.Command{
		Use:   "set PRINCIPAL",
		Short: "Give a principal a limit, in place of the one that it has",
		Example: `  stele limits set billing --events 1000 --bytes 1000000
  stele limits set '*' --requests 100`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Principal = args[0]
			return f.change(cmd, l, "limited: "+l.Principal, func(c *client.Client) error { return c.SetLimit(cmd.Context(), l) })
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.Float64Var(&l.Events, "events", 0, "events appended a second, over time; a batch passes at once (default: any number)")
	flags.Float64Var(&l.Bytes, "bytes", 0, "bytes of events appended a second, over time (default: any number)")
	flags.IntVar(&l.Requests, "requests", 0, "requests at a time, streams too (default: any number)")
	flags.IntVar(&l.Logs, "logs", 0, "logs that it creates, in all (default: any number)")
	return cmd
}

func newLimitsRemoveCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "remove PRINCIPAL",
		Short: "Take a principal's limit away",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.change(cmd, map[string]string{"removed": args[0]}, "removed: "+args[0], func(c *client.Client) error {
				return c.RemoveLimit(cmd.Context(), args[0])
			})
		},
	}
	f.register(cmd)
	return cmd
}

func newLimitsListCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List limits",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, &f, "limits", func(c *client.Client) ([]client.Limit, error) { return c.Limits(cmd.Context()) }, printLimits)
		},
	}
	f.register(cmd)
	return cmd
}
