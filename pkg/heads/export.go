package heads

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// ExportConfig configures an export.
type ExportConfig struct {
	Log     tile.Reader
	History History
	Policy  *policy.Policy // whose checkpoints to trust

	// Earlier are the policies that were in force before Policy, in the order of time;
	// see [policy.Past].
	Earlier []*policy.Policy

	// From and To are the period. Checkpoints of the size To are in it, those of
	// the time To are not.
	From, To Bound
}

// Exported is the summary of an export.
type Exported struct {
	Count       uint64 // checkpoints
	First, Last uint64 // sizes of the first and the last of them
	ByKey       uint64 // those that meet no policy: the log's key alone vouches for them

	// Unlisted is the size of the log's newest checkpoint if the history ends before it, and
	// else 0.
	Unlisted uint64
}

// Export writes the archive of all checkpoints of a period, up to the newest that
// the log shows. It begins with the checkpoint before the period, if there is
// one, so that archives of adjoining periods are chained too. Each checkpoint is
// verified before it is written: its signatures, by the policy of its time, and that it is
// consistent with the one before. The last must be consistent with the newest, which
// the policy trusts.
//
// An error wraps [tile.ErrUnchecked] if it shows nothing about the log. It is an error if there is no checkpoint in the period. After an error, w has
// part of an archive, which no [Reader] accepts.
func Export(ctx context.Context, w io.Writer, cfg ExportConfig) (Exported, error) {
	note, err := cfg.Log.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = tile.Unchecked(err) // there is no log
	}
	if err != nil {
		return Exported{}, fmt.Errorf("read checkpoint: %w", err)
	}
	newest, err := cfg.Policy.Check(note)
	if err != nil {
		return Exported{}, err
	}
	first, err := cfg.History.find(ctx, cfg.From)
	if err != nil {
		return Exported{}, err
	}
	b := bufio.NewWriter(w)
	archive, err := NewWriter(b, onlyLog(cfg.Policy, newest.Origin))
	if err != nil {
		return Exported{}, err
	}
	e := &exporter{ExportConfig: cfg, newest: newest.Head, nodes: tree.TileNodes(cfg.Log, newest.Size), archive: archive,
		past: policy.NewPast(append(slices.Clone(cfg.Earlier), cfg.Policy)...)}
	if err := e.write(ctx, max(first, 1)-1); err != nil {
		return Exported{}, err
	}
	return e.done, errors.Join(archive.Close(), b.Flush())
}

// An exporter writes one archive. It makes the consistency proofs itself, from the
// log's tiles, and verifies them: neither tiles nor history are trusted.
type exporter struct {
	ExportConfig
	newest  tree.Head // of the tree that nodes are read from
	nodes   tree.NodeReader
	archive *Writer
	past    *policy.Past
	before  policy.Result // the checkpoint written last
	done    Exported
}

// write writes the checkpoints from a number on.
func (e *exporter) write(ctx context.Context, number uint64) error {
	within, served, ended := false, false, false
	for c, err := range e.History(ctx, number) {
		if err != nil {
			return err
		}
		served = true
		if c.Number != number {
			return fmt.Errorf("checkpoint %d is missing: the next is %d", number, c.Number)
		}
		number++
		result, met, err := e.past.Check(c.Note)
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", c.Number, err)
		}
		if e.To.ends(result.Size, c.Published) || result.Size > e.newest.Size { // published since the export began
			ended = true
			break
		}
		if err := e.add(ctx, c, result); err != nil {
			return err
		}
		if !met {
			e.done.ByKey++
		}
		within = within || e.From.begins(result.Size, c.Published)
	}
	switch {
	case !served:
		return tile.Unchecked(errors.New("the log serves no history of checkpoints, which an archive is written from"))
	case !within:
		return tile.Unchecked(errors.New("the log has published no checkpoint in this period"))
	}
	if !ended && e.before.Size < e.newest.Size {
		e.done.Unlisted = e.newest.Size
	}
	if _, err := e.prove(ctx, e.newest); err != nil {
		return fmt.Errorf("newest checkpoint: %w", err)
	}
	return nil
}

// add writes one checkpoint with the proof that it is consistent with the one
// before.
func (e *exporter) add(ctx context.Context, c Checkpoint, result policy.Result) (err error) {
	if e.done.Count == 0 {
		e.done.First = result.Size
	} else if c.Proof, err = e.prove(ctx, result.Head); err != nil {
		return fmt.Errorf("checkpoint %d: %w", c.Number, err)
	}
	if err := e.archive.Add(c); err != nil {
		return err
	}
	e.before, e.done.Last = result, result.Size
	e.done.Count++
	return nil
}

// prove returns the proof that a head is consistent with the checkpoint written last.
func (e *exporter) prove(ctx context.Context, head tree.Head) ([]tree.Hash, error) {
	hashes, err := proof.Consistency(ctx, e.nodes, e.before.Size, head.Size)
	if err != nil {
		return nil, err
	}
	if err := proof.VerifyConsistency(e.before.Head, head, hashes); err != nil {
		return nil, fmt.Errorf("it is not consistent with the one before, or the log's tiles were changed: %w", err)
	}
	return hashes, nil
}

// onlyLog returns the policy for the log of one origin: an archive names no other
// log that the operator's policy happens to list.
func onlyLog(p *policy.Policy, origin string) *policy.Policy {
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
