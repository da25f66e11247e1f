package main

import (
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/ingest/cloudevents"
	"github.com/stele-log/stele/internal/ingest/submit"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tree"
)

func newAppendCmd() *cobra.Command {
	var f clientFlags
	var wait bool
	cmd := &cobra.Command{
		Use:   "append [FILE|-]",
		Short: "Append events to a log",
		Long: `Append sends events, from a file or standard input, to a log, in order. They are
CloudEvents in JSON: one a line, one object, or an array. An event needs a type;
specversion, id, source and time are filled in where they are missing.

For each event that is in the log, it prints index, leaf hash and id, and
"duplicate" if it was there before. Refusals go to standard error, with line number
and reason; all other events are stored. The exit status is 1 if any event was
refused.

With --json it prints an object a line for each event: place, and either index,
id, source, leaf_hash, duplicate and, with --wait, receipt; or refused and why.`,
		Example: `  stele append events.ndjson
  echo '{"type":"door.opened","data":{"door":7}}' | stele append
  tail -f app.ndjson | stele append --log doors --json
  echo '{"type":"door.closed"}' | stele append --wait --json | jq -r .receipt > door.tlog-proof`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, file := "standard input", "-"
			if len(args) == 1 && args[0] != "-" {
				name, file = args[0], args[0]
			}
			in, err := openFile(file)
			if err != nil {
				return err
			}
			defer in.Close()
			c, err := f.connect(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if wait {
				c = c.WithReceipts()
			}
			return f.append(cmd, c, cloudevents.Read(name, in))
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until a published checkpoint covers the events; --json then prints receipts")
	return cmd
}

func (f *clientFlags) append(cmd *cobra.Command, c *client.Client, inputs iter.Seq[ingest.Input]) error {
	var tally submit.Tally
	var printed error
	err := submit.All(cmd.Context(), c, inputs, func(in ingest.Input, r client.Result) {
		tally.Add(r)
		if r.Err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), submit.Reason(in, r))
		}
		if err := printAppended(cmd.OutOrStdout(), in, r, f.json); err != nil {
			printed = err
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("after %d events: %w", tally.Total(), f.explain(err))
	case printed != nil:
		return printed
	}
	return tally.Err()
}

// An appendedEvent is what --json prints of an event.
type appendedEvent struct {
	Place     string     `json:"place"`
	ID        string     `json:"id,omitempty"`
	Source    string     `json:"source,omitempty"`
	Index     *uint64    `json:"index,omitempty"`
	LeafHash  *tree.Hash `json:"leaf_hash,omitempty"`
	Duplicate bool       `json:"duplicate,omitempty"`
	Receipt   string     `json:"receipt,omitempty"`
	Pending   string     `json:"pending,omitempty"`
	Refused   bool       `json:"refused,omitempty"`
	Why       string     `json:"why,omitempty"`
}

func printAppended(w io.Writer, in ingest.Input, r client.Result, asJSON bool) error {
	switch {
	case asJSON && r.Err != nil:
		return printJSON(w, appendedEvent{Place: in.Place, ID: r.ID, Refused: true, Why: submit.Reason(in, r)})
	case asJSON:
		return printJSON(w, appendedEvent{Place: in.Place, ID: r.ID, Source: r.Source, Index: &r.Index, LeafHash: &r.LeafHash,
			Duplicate: r.Duplicate, Receipt: string(r.Receipt), Pending: r.Pending})
	case r.Err != nil:
		return nil
	}
	note := ""
	if r.Duplicate {
		note = "  duplicate"
	}
	_, err := fmt.Fprintf(w, "%d  %s  %s%s\n", r.Index, r.LeafHash, r.ID, note)
	return err
}
