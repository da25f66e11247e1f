package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// trustFlags say what a verifier trusts: all of it comes from outside the log.
type trustFlags struct {
	keys   []string
	policy string
}

func (f *trustFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "the log's verifier key, or a file that holds it; any one of several suffices")
	cmd.Flags().StringVar(&f.policy, "policy", "", "C2SP tlog-policy file: witnesses that must have cosigned, and logs if no --key is given")
}

// load returns the policy that the flags say.
func (f *trustFlags) load() (*policy.Policy, error) {
	vkeys := make([]string, len(f.keys))
	for i, key := range f.keys {
		var err error
		if vkeys[i], err = loadKey(key); err != nil {
			return nil, err
		}
	}
	if f.policy == "" {
		if len(vkeys) == 0 {
			return nil, errors.New("say whom to trust with --key or --policy; the log's owner publishes its key")
		}
		return policy.ForLog(vkeys...)
	}
	text, err := os.ReadFile(f.policy)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.policy, err)
	}
	if len(vkeys) > 0 {
		return p.WithLogs(vkeys...)
	}
	return p, nil
}

// loadKey returns the key, which has two "+", or the one in the file.
func loadKey(key string) (string, error) {
	if strings.Count(key, "+") >= 2 {
		return key, nil
	}
	text, err := os.ReadFile(key)
	if err != nil {
		return "", fmt.Errorf("--key %q is neither a verifier key (name+id+key) nor a file: %w", key, err)
	}
	return strings.TrimSpace(string(text)), nil
}

func newVerifyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify what a log has handed out, offline",
	}
	cmd.AddCommand(newVerifyReceiptCmd(), newVerifyHeadsCmd(), newVerifyContradictionCmd())
	return cmd
}

func newVerifyReceiptCmd() *cobra.Command {
	var trust trustFlags
	var eventFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "receipt FILE",
		Short: "Verify that an event is in a log, offline",
		Long: `Verify receipt checks offline that an event is in a log. It hashes the event
itself, and trusts the key and the policy that it is given and nothing else.

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
			// An entry ends with "}": a line end was added by whoever wrote the file.
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

// openFile opens a file, or standard input if it is called "-".
func openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// readFile reads a file, or standard input if it is called "-".
func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// A verifiedEntry says what a receipt has proven.
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
		return json.NewEncoder(w).Encode(v)
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
