package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func newExportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what a log has signed to files for the archive",
	}
	cmd.AddCommand(newExportHeadsCmd())
	return cmd
}

func newExportHeadsCmd() *cobra.Command {
	var trust trustFlags
	var from, to, out string
	cmd := &cobra.Command{
		Use:   "heads URL",
		Short: "Write every signed head of a period to one file",
		Long: `Export heads writes every checkpoint that a log has published in a period, with
its cosignatures, the consistency proofs that chain them, and the keys, as one
text file. "stele verify heads" checks it offline.

The period is from --from up to --to, each a size (42), a day (2026-10-01, at
midnight UTC) or a time (2026-10-01T06:00:00Z). Checkpoints of the size --to are
in it, those of the time --to are not. The archive begins with the checkpoint
before the period, if there is one, so that archives of adjoining periods are
chained too. Times are those at which the log says it has published.

It trusts the key and the policy that it is given, and verifies what it writes.
The log must serve its history of checkpoints, as Stele does.`,
		Example: `  stele export heads http://127.0.0.1:8080/logs/default --key "$VKEY" -o all.heads
  stele export heads https://logs.example.com/logs/audit --policy policy.txt --from 2026-10-01 --to 2026-11-01 -o 2026-10.heads`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := trust.load()
			if err != nil {
				return err
			}
			reader, c := openLog(args[0])
			if c == nil {
				return fmt.Errorf("%q is not the http URL of a log: a folder has no history of checkpoints", args[0])
			}
			e := &headsExport{policy: p, reader: reader, history: newHistory(c, args[0]), out: cmd.OutOrStdout()}
			if e.from, err = parseBound("--from", from); err != nil {
				return err
			}
			if e.to, err = parseBound("--to", to); err != nil {
				return err
			}
			return e.run(cmd.Context(), out)
		},
	}
	trust.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "first size, day or time of the period (default: the log's beginning)")
	flags.StringVar(&to, "to", "", "last size, or day or time before which it ends (default: now)")
	flags.StringVarP(&out, "output", "o", "", "file to write (default: standard output)")
	return cmd
}

// A headsExport writes one archive.
type headsExport struct {
	policy   *policy.Policy
	reader   tile.Reader
	history  *history
	from, to bound
	out      io.Writer
	first    uint64 // size of the first checkpoint written
	last     uint64 // and of the last
	count    uint64
}

// run writes the archive to the file, whole or not at all, or to standard
// output.
func (e *headsExport) run(ctx context.Context, name string) error {
	if name == "" {
		return e.write(ctx, e.out)
	}
	err := durable.ReplaceFunc(durable.System, name, 0o644, func(w io.Writer) error { return e.write(ctx, w) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "written: %d checkpoints, of sizes %d to %d, to %s\n", e.count, e.first, e.last, name)
	return err
}

func (e *headsExport) write(ctx context.Context, to io.Writer) error {
	newest, err := client.ReadHead(ctx, e.reader, e.policy)
	if err != nil {
		return err
	}
	start, err := e.history.find(ctx, e.from)
	if err != nil {
		return err
	}
	// The one before chains the archive to that of the period before.
	start = max(start, 1) - 1
	b := bufio.NewWriter(to)
	w, err := heads.NewWriter(b, ownKeys(e.policy, newest.Origin))
	if err != nil {
		return err
	}
	nodes := tree.TileNodes(e.reader, newest.Size)
	if err := e.checkpoints(ctx, w, nodes, start, newest.Size); err != nil {
		return err
	}
	return errors.Join(w.Close(), b.Flush())
}

// checkpoints writes those from number start on that are in the period, up to
// the newest size.
func (e *headsExport) checkpoints(ctx context.Context, w *heads.Writer, nodes tree.NodeReader, start, newest uint64) error {
	var before *policy.Result
	within := false
	for c, err := range e.history.from(ctx, start) {
		if err != nil {
			return err
		}
		if e.to.passed(c) {
			break
		}
		result, err := e.policy.Check([]byte(c.Note))
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", c.Number, err)
		}
		if result.Size > newest {
			break // published since the export began
		}
		add := heads.Checkpoint{Number: c.Number, Published: c.Published, Note: []byte(c.Note)}
		if before != nil {
			if add.Proof, err = proof.Consistency(ctx, nodes, before.Size, result.Size); err != nil {
				return fmt.Errorf("checkpoint %d: %w", c.Number, err)
			}
			if err := proof.VerifyConsistency(before.Head, result.Head, add.Proof); err != nil {
				return fmt.Errorf("checkpoint %d is not consistent with the one before, or the log's tiles were changed: %w", c.Number, err)
			}
		} else {
			e.first = result.Size
		}
		if err := w.Add(add); err != nil {
			return err
		}
		within = within || e.from.reached(c)
		before, e.last = &result, result.Size
		e.count++
	}
	if !within {
		return errors.New("the log has published no checkpoint in this period")
	}
	return nil
}

// ownKeys returns the policy for the log of one origin.
func ownKeys(p *policy.Policy, origin string) *policy.Policy {
	var vkeys []string
	for _, l := range p.Logs() {
		if l.Origin == origin {
			vkeys = append(vkeys, l.VKey)
		}
	}
	own, err := p.WithLogs(vkeys...)
	if err != nil {
		return p // cannot be: the keys are the policy's
	}
	return own
}
