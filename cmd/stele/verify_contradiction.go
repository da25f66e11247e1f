package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/tree"
)

func newVerifyContradictionCmd() *cobra.Command {
	var trust trustFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "contradiction FILE",
		Short: "Verify that a log has contradicted itself, offline",
		Long: `Verify contradiction checks offline a file that "stele audit" has written: its
checkpoints must be signed by a key of one log, and the rest of the file must prove
that no log can have had both. Witnesses do not matter for that.

Exit status: 0 if the contradiction holds: then the log must not be trusted any
more; 1 if it does not hold, and shows nothing; 2 if the command was not understood, or
no key can be used; 3 if it could not be checked: the file cannot be read, or is about
another log than the key's. With --json an object is printed whatever the outcome, with
verdict: verified, contradicted or unchecked, and for the last two a reason.`,
		Example: `  stele verify contradiction fork-900-900-1f3a77c0.contradiction --key log.vkey
  stele verify contradiction fork-900-900-1f3a77c0.contradiction --policy policy.txt --json`,
		Args: cobra.ExactArgs(1),
		RunE: verify("NOT shown", &asJSON, func(cmd *cobra.Command, args []string) error {
			policies, err := trust.loadAll()
			if err != nil {
				return err
			}
			text, err := readToVerify(args[0], contradiction.MaxSize)
			if err != nil {
				return err
			}
			c, err := contradiction.Parse(text)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			var result contradiction.Result
			for _, p := range slices.Backward(policies) {
				if result, err = c.Verify(p); err == nil {
					return printContradiction(cmd.OutOrStdout(), c, result, asJSON)
				}
			}
			return fmt.Errorf("%s: %w", args[0], err)
		}),
	}
	trust.registerPast(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// meaning is what follows from a contradiction of each kind.
var meaning = map[contradiction.Kind]string{
	contradiction.Fork: "Only somebody with the log's key can have made this. Readers who saw one of the two\n" +
		"heads were shown another history than readers who saw the other.",
	contradiction.Inconsistent: "Only somebody with the log's key can have made this, and a log that only ever grows\n" +
		"cannot. Entries below the smaller head were changed later, or hidden from some readers.",
	contradiction.Entry: "The log's signature shows which entry is right. It does not show who handed out the\n" +
		"wrong bytes: anyone can make a file like this. Get the entry yourself, and compare.",
}

// verifiedContradiction is what is printed as JSON.
type verifiedContradiction struct {
	Verdict string             `json:"verdict"`
	Kind    contradiction.Kind `json:"kind"`
	Origin  string             `json:"origin"`
	Heads   []seenHead         `json:"heads"`
	Prefix  *tree.Hash         `json:"prefix,omitempty"` // of inconsistent
	Index   *uint64            `json:"index,omitempty"`  // of entry
	Meaning string             `json:"meaning"`
}

type seenHead struct {
	Size   uint64    `json:"size"`
	Root   tree.Hash `json:"root"`
	Source string    `json:"source"` // as the file's writer says, and when
	Time   time.Time `json:"time"`
}

func verifiedOf(e contradiction.Contradiction, r contradiction.Result) verifiedContradiction {
	v := verifiedContradiction{Verdict: verdictVerified, Kind: r.Kind, Origin: r.Origin, Meaning: meaning[r.Kind],
		Heads: []seenHead{{r.First.Size, r.First.Root, e.First.Source, e.First.Time}}}
	if r.Kind == contradiction.Entry {
		v.Index = &r.Index
		return v
	}
	if r.Kind == contradiction.Inconsistent {
		v.Prefix = &r.Prefix
	}
	v.Heads = append(v.Heads, seenHead{r.Second.Size, r.Second.Root, e.Second.Source, e.Second.Time})
	return v
}

func printContradiction(w io.Writer, e contradiction.Contradiction, r contradiction.Result, asJSON bool) error {
	v := verifiedOf(e, r)
	if asJSON {
		return printJSON(w, v)
	}
	fmt.Fprintf(w, "the contradiction holds (%s): %s\n\n%s\n\n", v.Kind, r, v.Meaning)
	for _, h := range v.Heads {
		fmt.Fprintf(w, "the head of size %d was seen at %s, %s (as the file's writer says)\n",
			h.Size, h.Source, h.Time.Format(time.RFC3339))
	}
	return nil
}
