package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
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

The event is the entry as the log has it: what "stele get INDEX" prints, byte for byte.
With several --policy, in the order of time, one of them must trust the receipt.

Exit status: 0 if the event is in the log; 1 if the receipt does not show it, or is
damaged; 2 if the command was not understood, or no key can be used; 3 if it could not
be checked: a file cannot be read, or the receipt is of another log than the key's. With
--json an object is printed whatever the outcome, with verdict: verified, contradicted
or unchecked, and for the last two a reason.`,
		Example: `  stele get 41 > 41.json
  stele receipt 41 > 41.tlog-proof
  stele verify receipt 41.tlog-proof --event 41.json --key "$VKEY"
  stele verify receipt 41.tlog-proof --event 41.json --policy policy.txt`,
		Args: cobra.ExactArgs(1),
		RunE: verify("NOT verified", &asJSON, func(cmd *cobra.Command, args []string) error {
			policies, err := trust.loadAll()
			if err != nil {
				return err
			}
			receipt, err := readReceipt(args[0])
			if err != nil {
				return err
			}
			entry, err := readEntry(eventFile)
			if err != nil {
				return err
			}
			var result policy.Result
			for _, p := range slices.Backward(policies) {
				if result, err = receipt.Verify(entry, p); err == nil {
					return printVerified(cmd.OutOrStdout(), verified(receipt, entry, result), asJSON)
				}
			}
			return err
		}),
	}
	trust.registerPast(cmd)
	cmd.Flags().StringVar(&eventFile, "event", "", `file with the entry, or "-" for standard input`)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	if err := cmd.MarkFlagRequired("event"); err != nil {
		panic(err) // the flag is registered above
	}
	return cmd
}

func readReceipt(name string) (proof.Receipt, error) {
	text, err := readToVerify(name, proof.MaxReceipt)
	if err != nil {
		return proof.Receipt{}, err
	}
	r, err := proof.ParseReceipt(text)
	if err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// readEntry reads an entry from a file. The entry ends with "}": a newline after that
// was added by whatever wrote the file.
func readEntry(name string) ([]byte, error) {
	entry, err := readToVerify(name, tile.MaxEntry+len("\r\n"))
	if bytes.HasPrefix(entry, []byte("\xff\xfe")) || bytes.HasPrefix(entry, []byte("\xfe\xff")) {
		return nil, fmt.Errorf(`%s: it is UTF-16, as ">" in Windows PowerShell writes, and must be UTF-8: get the entry again, byte for byte`, name)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(entry, []byte("\n")), []byte("\r")), err
}

// A verifiedEntry is what a receipt has proven.
type verifiedEntry struct {
	Verdict  string            `json:"verdict"`
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
	v := verifiedEntry{Verdict: verdictVerified, Origin: result.Origin, Index: r.Index, Size: result.Size,
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
		fmt.Fprintf(w, "  signed by  %s\n", shortKey(vkey))
	}
	for _, c := range v.Cosigned {
		fmt.Fprintf(w, "  cosigned   by %s at %s\n", c.Witness, c.Time.UTC().Format(time.RFC3339))
	}
	return nil
}
