package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tree"
)

func newVerifyHeadsCmd() *cobra.Command {
	var trust trustFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "heads FILE",
		Short: "Verify an archive of signed heads, offline",
		Long: `Verify heads checks offline what "stele export heads" has written: each
checkpoint of the archive must be trusted, and proven consistent with the one
before it.

It trusts the key and the policy that it is given and nothing else. The keys in
the archive are for people to read; if it names another key where the name is the
same, it is refused.`,
		Example: `  stele verify heads 2026-10.heads --key "$VKEY"
  stele verify heads 2026-10.heads --policy policy.txt --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := trust.load()
			if err != nil {
				return err
			}
			in := io.Reader(os.Stdin)
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			cosigned := map[string]*witnessReport{}
			report, err := heads.Verify(bufio.NewReader(in), p, func(v heads.Verified) error {
				countCosignatures(cosigned, v)
				return nil
			})
			if err != nil {
				return fmt.Errorf("NOT verified: %w", err)
			}
			return printHeads(cmd.OutOrStdout(), headsVerdict(report, cosigned), asJSON)
		},
	}
	trust.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type headsReport struct {
	Origin      string          `json:"origin"`
	Checkpoints uint64          `json:"checkpoints"`
	First       *headReport     `json:"first,omitempty"`
	Last        *headReport     `json:"last,omitempty"`
	Witnesses   []witnessReport `json:"witnesses"`
}

type headReport struct {
	Number    uint64    `json:"number"`
	Size      uint64    `json:"size"`
	Root      tree.Hash `json:"root"`
	Published time.Time `json:"published"`
}

// A witnessReport says how many checkpoints a witness has cosigned, and when.
type witnessReport struct {
	Name     string    `json:"name"`
	Cosigned uint64    `json:"cosigned"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

func countCosignatures(cosigned map[string]*witnessReport, v heads.Verified) {
	for _, c := range v.Cosignatures {
		w, ok := cosigned[c.Witness.Name]
		if !ok {
			w = &witnessReport{Name: c.Witness.Name, First: c.Time}
			cosigned[c.Witness.Name] = w
		}
		w.Cosigned++
		w.Last = c.Time
	}
}

func headsVerdict(r heads.Report, cosigned map[string]*witnessReport) headsReport {
	out := headsReport{Origin: r.Last.Origin, Checkpoints: r.Count, Witnesses: []witnessReport{}}
	if r.Count > 0 {
		out.First, out.Last = headOf(r.First), headOf(r.Last)
	}
	for _, w := range slices.SortedFunc(maps.Values(cosigned), func(a, b *witnessReport) int { return cmp.Compare(a.Name, b.Name) }) {
		out.Witnesses = append(out.Witnesses, *w)
	}
	return out
}

func headOf(v heads.Verified) *headReport {
	return &headReport{v.Number, v.Size, v.Root, v.Published}
}

func printHeads(w io.Writer, r headsReport, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	if r.Checkpoints == 0 {
		_, err := fmt.Fprintln(w, "verified: an archive without checkpoints")
		return err
	}
	fmt.Fprintf(w, "verified: %d checkpoints of %s, each consistent with the one before\n", r.Checkpoints, r.Origin)
	fmt.Fprintf(w, "  from  number %d, size %d, root %s, published %s (as the log says)\n",
		r.First.Number, r.First.Size, r.First.Root, r.First.Published.Format(time.RFC3339Nano))
	fmt.Fprintf(w, "  to    number %d, size %d, root %s, published %s (as the log says)\n",
		r.Last.Number, r.Last.Size, r.Last.Root, r.Last.Published.Format(time.RFC3339Nano))
	for _, c := range r.Witnesses {
		fmt.Fprintf(w, "  %s has cosigned %d of them, from %s to %s\n",
			c.Name, c.Cosigned, c.First.Format(time.RFC3339), c.Last.Format(time.RFC3339))
	}
	return nil
}
