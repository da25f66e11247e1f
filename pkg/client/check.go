package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// CheckOptions are options of Check. The zero value checks the newest checkpoint
// only, in silence.
type CheckOptions struct {
	// History yields all checkpoints of the log, from number 0 on, such as [History]
	// does. None may be missing; each must be trusted by the policy of its time, see
	// [policy.Past], and agree with the entries. If nil, no earlier checkpoint is
	// checked.
	History iter.Seq2[heads.Checkpoint, error]

	// Earlier are the policies that were in force before the one for the newest
	// checkpoint, in the order of time.
	Earlier []*policy.Policy

	// Known are heads that the log is known to have signed. It must contain each.
	Known []KnownHead

	// Committed returns the unsigned head up to which whoever keeps the log has committed
	// entries. Those that the newest checkpoint does not cover are checked with it. It
	// is called once that checkpoint is read. If nil, the checkpoint is all there is.
	Committed func(context.Context) (tree.Head, error)

	// Heads yields unsigned heads, by size. Those up to Committed must agree with the
	// entries.
	Heads iter.Seq2[tree.Head, error]

	// Progress, if not nil, is called after each bundle with the number of entries
	// checked, and of all. It is called by the goroutine that called Check.
	Progress func(done, total uint64)
}

// A KnownHead is a head that a log has signed, as somebody has kept it.
type KnownHead struct {
	Name string // of where it was kept, for errors
	tree.Head

	// Unpublished is whether the log may have signed it without having published it:
	// then no checkpoint need cover it.
	Unpublished bool
}

// A Report is the result of a check that has found no fault.
type Report struct {
	policy.Result        // of the newest checkpoint
	Past          uint64 // number of checkpoints of the history that agree
	Uncovered     uint64 // entries of Committed that no checkpoint covers; they agree with it

	// Of the history, the checkpoints from before any policy was in force, and later ones
	// that do not meet the only policy: the log's key alone vouches for them.
	Before, Unmet uint64
}

// Check reads a whole log and recomputes every hash: each entry must have the leaf
// hash in its level 0 tile, each tile the hash in the tile above it, and the whole
// tree the root that the newest checkpoint has signed. The error names the first
// place that does not fit; or it wraps [tile.ErrUnchecked], and shows nothing about the
// log. All trust rests on the policy; r is not trusted.
//
// It reads and hashes in parallel, and follows the tree in order with a
// [tree.Frontier], so that it needs the same memory for a log of any size.
//
// [tile.ErrUnchecked]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#ErrUnchecked
func Check(ctx context.Context, r tile.Reader, p *policy.Policy, o CheckOptions) (Report, error) {
	result, err := ReadHead(ctx, r, p)
	if err != nil {
		return Report{}, err
	}
	c := &checker{r: r, signed: result.Head, head: result.Head, frontier: &tree.Frontier{}, progress: o.Progress,
		past: policy.NewPast(append(slices.Clone(o.Earlier), p)...)}
	if o.Committed != nil {
		if c.head, err = o.Committed(ctx); err != nil {
			return Report{}, err
		}
	}
	if err := c.checkSizes(o.Known); err != nil {
		return Report{}, err
	}
	for _, claims := range []iter.Seq2[claim, error]{c.checkpoints(o.History), c.known(o.Known), c.committed(o.Heads)} {
		next, stop := iter.Pull2(claims)
		defer stop()
		c.claimants = append(c.claimants, &claimant{next: next})
	}
	if err := c.run(ctx); err != nil {
		if ctx.Err() != nil {
			err = tile.Unchecked(err)
		}
		return Report{}, err
	}
	return Report{Result: result, Past: c.agreed, Uncovered: c.head.Size - c.signed.Size,
		Before: c.past.Before, Unmet: c.past.Unmet}, nil
}

// A checker is the state of one check. Its frontier grows with the entries, and
// every tile and head is compared at the moment at which the frontier has its size.
type checker struct {
	r        tile.Reader
	signed   tree.Head      // by the newest checkpoint
	head     tree.Head      // the tree that is read, which contains the signed one
	frontier *tree.Frontier // over the entries checked so far
	progress func(done, total uint64)

	claimants []*claimant
	past      *policy.Past
	agreed    uint64 // number of checkpoints of the history that agree
	proven    uint64 // size of the last signed head that agrees
}

func (c *checker) run(ctx context.Context) error {
	if err := c.advance(ctx); err != nil {
		return err
	}
	return c.entries(ctx)
}

// append adds a bundle to the tree and compares the tiles that it completes. It
// stops within the bundle at the size of each claim, to compare its head.
func (c *checker) append(ctx context.Context, b tree.Bundle) error {
	for leaves := b.Leaves; len(leaves) > 0; {
		n := int(min(uint64(len(leaves)), c.due()-c.frontier.Size()))
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
		// Before the signed heads, since a tile names the place more closely.
		if c.frontier.Size() == c.head.Size {
			if err := c.edge(ctx); err != nil {
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
	head := c.signed
	if !hashes.In(head.Size) {
		head = c.head
	}
	p, err := tree.NewProven(ctx, c.r, head)
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
