package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// ReadHead reads a log's newest checkpoint and returns what the policy finds in
// it, or why the policy does not trust it.
func ReadHead(ctx context.Context, r tile.Reader, p *policy.Policy) (policy.Result, error) {
	msg, err := r.ReadCheckpoint(ctx)
	if err != nil {
		return policy.Result{}, fmt.Errorf("read checkpoint: %w", err)
	}
	return p.Check(msg)
}

// An Entry is an entry and its place in the log.
type Entry struct {
	Index uint64
	Data  []byte // as it is in the log
}

// ReadEntries reads the entries from start up to but not including end, in
// order, and proves each to be in the tree with the given head, which the caller
// trusts: nothing else is taken on the word of r. It stops at the first error.
//
// Full tiles are proven by the tile above them, up to the tiles at the tree's
// right edge, which together are the head.
func ReadEntries(ctx context.Context, r tile.Reader, head tree.Head, start, end uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if end > head.Size || start > end {
			yield(Entry{}, fmt.Errorf("read entries %d to %d: the tree has %d", start, end, head.Size))
			return
		}
		if start == end {
			return
		}
		v, err := newVerifier(ctx, r, head)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for start < end {
			t, _ := tile.At(tile.Entries, start/tile.Width, head.Size)
			entries, err := v.entries(ctx, t)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			last := min(end, t.Start()+uint64(t.Width))
			for ; start < last; start++ {
				if !yield(Entry{start, entries[start-t.Start()]}, nil) {
					return
				}
			}
		}
	}
}

// A verifier proves tiles to be in the tree with a head.
type verifier struct {
	r     tile.Reader
	head  tree.Head
	edge  *tree.Frontier
	known map[int]provenTile // by level, the last that was proven
}

type provenTile struct {
	index  uint64
	hashes []tree.Hash
}

func newVerifier(ctx context.Context, r tile.Reader, head tree.Head) (*verifier, error) {
	edge, err := tree.ReadFrontier(ctx, r, head.Size)
	if err != nil {
		return nil, err
	}
	if got := edge.Head(); got != head {
		return nil, fmt.Errorf("the tiles at the right edge of the tree have %v, want %v", got, head)
	}
	return &verifier{r, head, edge, map[int]provenTile{}}, nil
}

// entries reads a bundle and proves it.
func (v *verifier) entries(ctx context.Context, t tile.Tile) ([][]byte, error) {
	entries, leaves, err := readBundle(ctx, v.r, t)
	if err != nil {
		return nil, err
	}
	want := v.edge.Partial(0)
	if t.IsFull() {
		root, err := v.root(ctx, 0, t.Index)
		if err != nil {
			return nil, err
		}
		if tree.TileRoot(leaves) == root {
			return entries, nil
		}
		if want, err = v.hashes(ctx, 0, t.Index); err != nil {
			return nil, err
		}
	}
	for i, leaf := range leaves {
		if leaf != want[i] {
			return nil, fmt.Errorf("entry %d is not the one in the tree: its leaf hash is %s, want %s",
				t.Start()+uint64(i), leaf, want[i])
		}
	}
	return entries, nil
}

// root returns the proven hash of a full tile: it is one of the hashes of the
// tile above.
func (v *verifier) root(ctx context.Context, level int, index uint64) (tree.Hash, error) {
	above, err := v.hashes(ctx, level+1, index/tile.Width)
	if err != nil {
		return tree.Hash{}, err
	}
	return above[index%tile.Width], nil
}

// hashes returns the proven hashes of a tile.
func (v *verifier) hashes(ctx context.Context, level int, index uint64) ([]tree.Hash, error) {
	t, ok := tile.At(level, index, v.head.Size)
	if !ok {
		return nil, fmt.Errorf("there is no tile %d at level %d in a tree of %d entries", index, level, v.head.Size)
	}
	if !t.IsFull() {
		return v.edge.Partial(level), nil
	}
	if last, ok := v.known[level]; ok && last.index == index {
		return last.hashes, nil
	}
	root, err := v.root(ctx, level, index)
	if err != nil {
		return nil, err
	}
	hashes, err := readTile(ctx, v.r, t)
	if err != nil {
		return nil, err
	}
	if got := tree.TileRoot(hashes); got != root {
		return nil, fmt.Errorf("%s is not the one in the tree: its hash is %s, want %s", t, got, root)
	}
	v.known[level] = provenTile{index, hashes}
	return hashes, nil
}

// readBundle reads a bundle's entries and hashes them.
func readBundle(ctx context.Context, r tile.Reader, t tile.Tile) ([][]byte, []tree.Hash, error) {
	data, err := r.ReadTile(ctx, t)
	if err != nil {
		return nil, nil, fmt.Errorf("entries %d to %d: read %s: %w", t.Start(), t.Start()+uint64(t.Width)-1, t, err)
	}
	entries, err := tile.SplitBundle(data, t.Width)
	if err != nil {
		return nil, nil, fmt.Errorf("entries %d to %d: %s: %w", t.Start(), t.Start()+uint64(t.Width)-1, t, err)
	}
	leaves := make([]tree.Hash, len(entries))
	for i, e := range entries {
		leaves[i] = tree.LeafHash(e)
	}
	return entries, leaves, nil
}

func readTile(ctx context.Context, r tile.Reader, t tile.Tile) ([]tree.Hash, error) {
	data, err := r.ReadTile(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	hashes, err := tree.SplitTile(data, t.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return hashes, nil
}
