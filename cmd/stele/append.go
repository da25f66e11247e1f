package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

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
"duplicate" if it was there before. Why an event was refused is said, with its
line, on standard error; the others are stored all the same. The exit status is 1
if any was refused.

With --json it prints an object a line for each event: place, and either index,
id, source, leaf_hash, duplicate and, with --wait, receipt; or refused and why.`,
		Example: `  stele append events.ndjson
  echo '{"type":"door.opened","data":{"door":7}}' | stele append
  tail -f app.ndjson | stele append --log doors --json
  echo '{"type":"door.closed"}' | stele append --wait --json | jq -r .receipt > door.tlog-proof`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, file := "standard input", cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				opened, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer opened.Close()
				name, file = args[0], opened
			}
			c, err := f.connect(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if wait {
				c = c.WithReceipts()
			}
			return f.append(cmd, c, name, file)
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until a published checkpoint covers the events; --json then prints receipts")
	return cmd
}

func (f *clientFlags) append(cmd *cobra.Command, c *client.Client, name string, file io.Reader) error {
	var count tally
	show := printAppended
	if f.json {
		show = printAppendedJSON
	}
	var printed error
	err := send(cmd.Context(), c, readEvents(name, file), func(in input, r client.Result) {
		count.add(r)
		if r.Err != nil {
			printRefused(cmd.ErrOrStderr(), in, r)
		}
		if err := show(cmd.OutOrStdout(), in, r); err != nil {
			printed = err
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("after %d events: %w", count.total(), f.explain(err))
	case printed != nil:
		return printed
	}
	return count.err()
}

func printAppended(w io.Writer, _ input, r client.Result) error {
	if r.Err != nil {
		return nil
	}
	note := ""
	if r.Duplicate {
		note = "  duplicate"
	}
	_, err := fmt.Fprintf(w, "%d  %s  %s%s\n", r.Index, r.LeafHash, r.ID, note)
	return err
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

func printAppendedJSON(w io.Writer, in input, r client.Result) error {
	a := appendedEvent{Place: in.place, ID: r.ID}
	if r.Err != nil {
		a.Refused, a.Why = true, reason(in, r)
		return printJSON(w, a)
	}
	a.Source, a.Index, a.LeafHash, a.Duplicate = r.Source, &r.Index, &r.LeafHash, r.Duplicate
	a.Receipt, a.Pending = string(r.Receipt), r.Pending
	return printJSON(w, a)
}
