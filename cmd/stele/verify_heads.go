package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func newVerifyHeadsCmd() *cobra.Command {
	var trust trustFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "heads FILE",
		Short: "Verify an archive of signed heads, offline",
		Long: `Verify heads checks offline an archive that "stele export heads" has written: each
checkpoint must be trusted, and proven consistent with the one before it.

It trusts only the key and the policy that it is given. The keys in the archive are
for people to read; if it has another key than yours under the same name, it is
refused. The last checkpoint must meet a policy. Earlier ones are judged by the log's
key; with several --policy, in the order of time, each by the policy of its time.

Exit status: 0 if the archive verifies; 1 if it does not, or is damaged; 2 if the command
was not understood, or no key can be used; 3 if it could not be checked: the file cannot
be read, or is of another log than the key's. With --json an object is printed whatever
the outcome, with verdict: verified, contradicted or unchecked, and for the last two a
reason.`,
		Example: `  stele verify heads 2026-10.heads --key "$VKEY"
  stele verify heads 2026-10.heads --policy policy.txt --json
  stele verify heads all.heads --policy before-2026.txt --policy policy.txt`,
		Args: cobra.ExactArgs(1),
		RunE: verify("NOT verified", &asJSON, func(cmd *cobra.Command, args []string) error {
			policies, err := trust.loadAll()
			if err != nil {
				return err
			}
			in, err := openFile(args[0])
			if err != nil {
				return tile.Unchecked(err)
			}
			defer in.Close()
			report, err := heads.Verify(in, policies...)
			if err != nil {
				return err
			}
			return printHeads(cmd.OutOrStdout(), report, asJSON)
		}),
	}
	trust.registerPast(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type headsReport struct {
	Verdict     string          `json:"verdict"`
	Origin      string          `json:"origin"`
	Checkpoints uint64          `json:"checkpoints"`
	Before      uint64          `json:"before_policy,omitempty"` // from before the policy
	Unmet       uint64          `json:"unmet,omitempty"`         // later, and not cosigned as the policy asks
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

// A witnessReport is when, and how many checkpoints, a witness has cosigned.
type witnessReport struct {
	Name     string    `json:"name"`
	Cosigned uint64    `json:"cosigned"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

func printHeads(w io.Writer, r heads.Report, asJSON bool) error {
	switch {
	case asJSON:
		return printJSON(w, headsAsJSON(r))
	case r.Count == 0:
		_, err := fmt.Fprintln(w, "verified: an archive without checkpoints")
		return err
	}
	fmt.Fprintf(w, "verified: %d checkpoints of %s, each consistent with the one before\n", r.Count, r.Last.Origin)
	for _, v := range []struct {
		label string
		head  heads.Verified
	}{{"from", r.First}, {"to", r.Last}} {
		fmt.Fprintf(w, "  %-4s  number %d, size %d, root %s, published %s (as the log says)\n",
			v.label, v.head.Number, v.head.Size, v.head.Root, v.head.Published.Format(time.RFC3339Nano))
	}
	if r.Before > 0 {
		fmt.Fprintf(w, "  %d of them are from before the policy: the log's key has signed them\n", r.Before)
	}
	if r.Unmet > 0 {
		fmt.Fprintf(w, "  %d of them are later, and do not meet the policy: the log's key has signed them\n", r.Unmet)
	}
	for _, c := range r.Witnesses {
		fmt.Fprintf(w, "  %s has cosigned %d of them, from %s to %s\n",
			c.Name, c.Cosigned, c.First.Format(time.RFC3339), c.Last.Format(time.RFC3339))
	}
	return nil
}

func headsAsJSON(r heads.Report) headsReport {
	out := headsReport{Verdict: verdictVerified, Origin: r.Last.Origin, Checkpoints: r.Count, Before: r.Before, Unmet: r.Unmet,
		Witnesses: []witnessReport{}}
	if r.Count > 0 {
		out.First, out.Last = headAsJSON(r.First), headAsJSON(r.Last)
	}
	for _, w := range r.Witnesses {
		out.Witnesses = append(out.Witnesses, witnessReport(w))
	}
	return out
}

func headAsJSON(v heads.Verified) *headReport {
	return &headReport{v.Number, v.Size, v.Root, v.Published}
}
