package client

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// CheckOptions are options of Check. The zero value checks the newest checkpoint
// only, in silence.
type CheckOptions struct {
	// History yields all checkpoints of the log, from number 0 on, such as [History]
	// does. None may be missing; each must be trusted by the policy and agree with
	// the entries. If nil, no earlier checkpoint is checked.
	History iter.Seq2[heads.Checkpoint, error]

	// Progress, if not nil, is called after each bundle with the number of entries
	// checked, and of all. It is called by the goroutine that called Check.
	Progress func(done, total uint64)
}

// A Report is the result of a check that has found no fault.
type Report struct {
	policy.Result        // of the newest checkpoint
	Past          uint64 // number of checkpoints of the history that agree
}

// Check reads a whole log and recomputes every hash: each entry must have the leaf
// hash in its level 0 tile, each tile the hash in the tile above it, and the whole
// tree the root that the newest checkpoint has signed. The error names the first
// place that does not fit. All trust rests on the policy; r is not trusted.
//
// It reads and hashes in parallel, and follows the tree in order with a
// [tree.Frontier], so that it needs the same memory for a log of any size.
func Check(ctx context.Context, r tile.Reader, p *policy.Policy, o CheckOptions) (Report, error) {
	result, err := ReadHead(ctx, r, p)
	if err != nil {
		return Report{}, err
	}
	c := &checker{r: r, policy: p, head: result.Head, frontier: &tree.Frontier{}, progress: o.Progress}
	next, stop := iter.Pull2(emptyIfNil(o.History))
	defer stop()
	c.history = next
	if err := c.advance(ctx); err != nil {
		return Report{}, err
	}
	if err := c.entries(ctx); err != nil {
		return Report{}, err
	}
	if err := c.edge(ctx); err != nil {
		return Report{}, err
	}
	if c.frontier.Head() != c.head {
		return Report{}, fmt.Errorf("newest checkpoint: %w", c.disagree(c.head))
	}
	return Report{Result: result, Past: c.past}, nil
}

func emptyIfNil(history iter.Seq2[heads.Checkpoint, error]) iter.Seq2[heads.Checkpoint, error] {
	if history == nil {
		return func(func(heads.Checkpoint, error) bool) {}
	}
	return history
}

// A checker is the state of one check. Its frontier grows with the entries, and
// every tile and checkpoint is compared at the moment at which the frontier has
// its size.
type checker struct {
	r        tile.Reader
	policy   *policy.Policy
	head     tree.Head
	frontier *tree.Frontier // over the entries checked so far
	progress func(done, total uint64)

	history func() (heads.Checkpoint, error, bool)
	given   uint64                 // number of checkpoints taken from history
	due     *checkpoint.Checkpoint // the last of them, if the frontier is still smaller; or nil
	past    uint64                 // number of checkpoints that agree
	agreed  uint64                 // size of the last of them
}

// disagree returns the error for a signed head that is not that of the entries.
// The tiles agree with the entries, so nothing shows which entry was changed;
// only those below the last checkpoint that agrees are known to be right.
func (c *checker) disagree(signed tree.Head) error {
	return fmt.Errorf("it signs %v, but the entries have %v: one of the entries %d to %d was changed, "+
		"or another history was signed", signed, c.frontier.Head(), c.agreed, max(signed.Size, 1)-1)
}

// append adds a bundle to the tree and compares the tiles that it completes. It
// stops within the bundle at the size of each past checkpoint, to compare it.
func (c *checker) append(ctx context.Context, b tree.Bundle) error {
	for leaves := b.Leaves; len(leaves) > 0; {
		n := len(leaves)
		if c.due != nil {
			n = int(min(uint64(n), c.due.Size-c.frontier.Size()))
		}
		var full []tree.FullTile
		if n == tile.Width {
			full = c.frontier.AppendTile(b.Root)
		} else {
			full = c.frontier.Append(leaves[:n])
		}
		for _, t := range full {
			if err := c.tile(ctx, t); err != nil {
				return err
			}
		}
		leaves = leaves[n:]
		if err := c.advance(ctx); err != nil {
			return err
		}
	}
	if c.progress != nil {
		c.progress(c.frontier.Size(), c.head.Size)
	}
	return nil
}

// blame returns the error for a bundle that does not agree with its level 0 tile,
// whose hashes are stored. If the tiles above can be proven, it says whether the
// entry or the tile was changed; otherwise either may have been.
func (c *checker) blame(ctx context.Context, b tree.Bundle, stored []tree.Hash) error {
	i := firstDifference(b.Leaves, stored)
	index := b.Tile.Start() + uint64(i)
	hashes := b.Tile
	hashes.Level = 0
	differ := fmt.Sprintf("the entry's leaf hash is %s, %s has %s", b.Leaves[i], hashes, stored[i])
	p, err := tree.NewProven(ctx, c.r, c.head)
	if err == nil {
		err = p.Check(ctx, b)
	}
	var changed *tree.EntryError
	switch {
	case err == nil:
		return fmt.Errorf("entry %d: %s was changed at hash %d: %s", index, hashes, i, differ)
	case errors.As(err, &changed):
		return fmt.Errorf("entry %d was changed: %s", changed.Index, differ)
	}
	return fmt.Errorf("entry %d: the entry or its tile was changed: %s", index, differ)
}

// firstDifference returns the first index at which two tiles of the same width
// differ, or that width.
func firstDifference(a, b []tree.Hash) int {
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i
}

// tile compares a full tile, computed from the entries, with the one that the log
// serves. Level 0 is left out: compareLeaves has compared it.
func (c *checker) tile(ctx context.Context, full tree.FullTile) error {
	if full.Tile.Level == 0 {
		return nil
	}
	want, err := tree.SplitTile(full.Data, tile.Width)
	if err != nil {
		return err
	}
	return c.compare(ctx, full.Tile, want)
}

// edge compares the partial tiles at the right edge of the tree, above level 0.
func (c *checker) edge(ctx context.Context) error {
	for level := 1; ; level++ {
		want := c.frontier.Partial(level)
		if want == nil {
			return nil
		}
		if len(want) == 0 {
			continue
		}
		t, _ := tile.At(level, c.head.Size>>(8*(level+1)), c.head.Size)
		if err := c.compare(ctx, t, want); err != nil {
			return err
		}
	}
}

// compare reads tile t and compares it with the hashes that the entries give.
func (c *checker) compare(ctx context.Context, t tile.Tile, want []tree.Hash) error {
	got, err := tree.ReadTile(ctx, c.r, t)
	if err != nil {
		return err
	}
	below := uint64(1) << (8 * t.Level)
	i := firstDifference(want, got)
	if i == len(want) {
		return nil
	}
	first := t.Start() + uint64(i)*below
	return fmt.Errorf("%s was changed at hash %d, over entries %d to %d: it has %s, the entries give %s",
		t, i, first, first+below-1, got[i], want[i])
}

// advance compares the checkpoints of the history whose size the frontier has
// reached, and makes the next one due.
func (c *checker) advance(ctx context.Context) error {
	for ctx.Err() == nil {
		if c.due != nil {
			if c.due.Size > c.frontier.Size() {
				return nil
			}
			if got := c.frontier.Head(); got != c.due.Head {
				return fmt.Errorf("checkpoint %d: %w", c.given-1, c.disagree(c.due.Head))
			}
			c.agreed, c.due = c.due.Size, nil
			c.past++
		}
		past, err, ok := c.history()
		if err != nil {
			return fmt.Errorf("read history of checkpoints: %w", err)
		}
		if !ok {
			return nil
		}
		if past.Number != c.given {
			return fmt.Errorf("checkpoint %d is missing: the next is %d", c.given, past.Number)
		}
		c.given++
		result, err := c.policy.Check(past.Note)
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", past.Number, err)
		}
		if result.Size > c.head.Size {
			return nil // published since the check began
		}
		if result.Size < c.frontier.Size() {
			return fmt.Errorf("checkpoint %d: its size, %d, is smaller than that of one before", past.Number, result.Size)
		}
		c.due = &result.Checkpoint
	}
	return ctx.Err()
}
