package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

func newVerifyReceiptCmd() *cobra.Command {
	var trust trustFlags
	var eventFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "receipt FILE",
		Short: "Verify that an event is in a log, offline",
		Long: `Verify receipt checks offline that an event is in a log. It hashes the event
itself, and trusts only the key and the policy that it is given.

The event is the entry as the log has it: what "stele get INDEX" prints.`,
		Example: `  stele get 41 > 41.json
  stele receipt 41 > 41.tlog-proof
  stele verify receipt 41.tlog-proof --event 41.json --key "$VKEY"
  stele verify receipt 41.tlog-proof --event 41.json --policy policy.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := trust.load()
			if err != nil {
				return err
			}
			receipt, err := readReceipt(args[0])
			if err != nil {
				return err
			}
			entry, err := readFile(eventFile)
			if err != nil {
				return err
			}
			// An entry ends with "}": a newline was added by whatever wrote the file.
			entry = bytes.TrimSuffix(bytes.TrimSuffix(entry, []byte("\n")), []byte("\r"))
			result, err := receipt.Verify(entry, p)
			if err != nil {
				return fmt.Errorf("NOT verified: %w", err)
			}
			return printVerified(cmd.OutOrStdout(), verified(receipt, entry, result), asJSON)
		},
	}
	trust.register(cmd)
	cmd.Flags().StringVar(&eventFile, "event", "", `file with the entry, or "-" for standard input`)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	if err := cmd.MarkFlagRequired("event"); err != nil {
		panic(err) // the flag is registered above
	}
	return cmd
}

func readReceipt(name string) (proof.Receipt, error) {
	text, err := readFile(name)
	if err != nil {
		return proof.Receipt{}, err
	}
	r, err := proof.ParseReceipt(text)
	if err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// A verifiedEntry is what a receipt has proven.
type verifiedEntry struct {
	Origin   string            `json:"origin"`
	Index    uint64            `json:"index"`
	Size     uint64            `json:"size"`
	LeafHash tree.Hash         `json:"leaf_hash"`
	Recorded *time.Time        `json:"recorded,omitempty"`
	Signers  []string          `json:"signers"` // verifier keys of the log
	Cosigned []cosignedVerdict `json:"cosigned"`
}

type cosignedVerdict struct {
	Witness string    `json:"witness"`
	Time    time.Time `json:"time"`
}

func verified(r proof.Receipt, entry []byte, result policy.Result) verifiedEntry {
	v := verifiedEntry{Origin: result.Origin, Index: r.Index, Size: result.Size,
		LeafHash: tree.LeafHash(entry), Cosigned: []cosignedVerdict{}}
	if e, err := event.Decode(entry); err == nil {
		v.Recorded = &e.Recorded
	}
	for _, l := range result.Logs {
		v.Signers = append(v.Signers, l.VKey)
	}
	for _, c := range result.Cosignatures {
		v.Cosigned = append(v.Cosigned, cosignedVerdict{c.Witness.Name, c.Time})
	}
	return v
}

func printVerified(w io.Writer, v verifiedEntry, asJSON bool) error {
	if asJSON {
		return printJSON(w, v)
	}
	fmt.Fprintf(w, "verified: entry %d of %s, in its tree of %d entries\n", v.Index, v.Origin, v.Size)
	fmt.Fprintf(w, "  leaf hash  %s\n", v.LeafHash)
	if v.Recorded != nil {
		fmt.Fprintf(w, "  recorded   %s (as the log says)\n", v.Recorded.Format(time.RFC3339Nano))
	}
	for _, vkey := range v.Signers {
		fmt.Fprintf(w, "  signed by  %.80s\n", vkey)
	}
	for _, c := range v.Cosigned {
		fmt.Fprintf(w, "  cosigned   by %s at %s\n", c.Witness, c.Time.UTC().Format(time.RFC3339))
	}
	return nil
}
