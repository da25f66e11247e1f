package auditor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// A prefixProof is the root that the tree of a larger head had at a smaller size,
// with the consistency proof between the two. If it is not the root that was
// signed for that size, it proves a contradiction.
type prefixProof struct {
	root   tree.Hash
	hashes []tree.Hash
}

// errOtherTree means that tiles or entries do not lead to the root of the head
// they were read for, so that they prove nothing about it.
var errOtherTree = errors.New("the served data is not of the signed tree")

// provePrefix reads tiles of the larger tree and returns the root of its first
// size entries. It returns only what the larger head proves. The error is
// errOtherTree if the tiles are of another tree.
func provePrefix(ctx context.Context, r tile.Reader, size uint64, larger tree.Head) (prefixProof, error) {
	if size == 0 {
		return prefixProof{root: tree.EmptyRoot}, nil
	}
	nodes := tree.TileNodes(r, larger.Size)
	hashes, err := proof.Consistency(ctx, nodes, size, larger.Size)
	if err != nil {
		return prefixProof{}, err
	}
	root, err := prefixRoot(ctx, nodes, size)
	if err != nil {
		return prefixProof{}, err
	}
	if err := proof.VerifyConsistency(tree.Head{Size: size, Root: root}, larger, hashes); err != nil {
		return prefixProof{}, fmt.Errorf("%w: %w", errOtherTree, err)
	}
	return prefixProof{root, hashes}, nil
}

// prefixRoot returns the root of the first size entries. The size is at least 1.
func prefixRoot(ctx context.Context, nodes tree.NodeReader, size uint64) (root tree.Hash, err error) {
	// The tree is made of full subtrees, one for each bit of its size. Combine
	// them from the right, where the smallest is.
	first := true
	for height := uint(0); size>>height > 0; height++ {
		if size>>height&1 == 0 {
			continue
		}
		peak, err := tree.ReadNode(ctx, nodes, height, size>>height-1)
		if err != nil {
			return root, err
		}
		if first {
			root, first = peak, false
		} else {
			root = tree.NodeHash(peak, root)
		}
	}
	return root, nil
}

// grow appends the entries from the frontier's size up to the given size, and
// returns the frontier of the larger tree; f stays as it is. It calls hashed with
// the number of entries of each bundle.
func grow(ctx context.Context, r tile.Reader, f *tree.Frontier, size uint64, hashed func(int)) (*tree.Frontier, error) {
	grown := f.Clone()
	if f.Size() == size {
		return grown, nil
	}
	for b, err := range tree.Bundles(ctx, r, f.Size(), size) {
		if err != nil {
			return nil, err
		}
		before := grown.Size()
		grown.AppendBundle(b)
		hashed(int(grown.Size() - before))
	}
	return grown, nil
}

// rebuildTiles hashes all entries of the tree with that head, and returns those of
// its tiles that provePrefix needs for the given size: of level 0 only the one at
// that size, of the levels above, which are small, all. The error is errOtherTree
// if the entries are of another tree.
func rebuildTiles(ctx context.Context, r tile.Reader, head tree.Head, size uint64, hashed func(int)) (tile.Reader, error) {
	tiles := rebuiltTiles{}
	var f tree.Frontier
	for b, err := range tree.Bundles(ctx, r, 0, head.Size) {
		if err != nil {
			return nil, err
		}
		for _, full := range f.AppendBundle(b) {
			if full.Tile.Level > 0 || full.Tile.Index == size/tile.Width {
				tiles[full.Tile] = full.Data
			}
		}
		hashed(len(b.Leaves))
	}
	if got := f.Head(); got != head {
		return nil, fmt.Errorf("%w: the entries have the head %v, not %v", errOtherTree, got, head)
	}
	for level := 0; f.Partial(level) != nil; level++ {
		if t, ok := tile.At(level, head.Size>>(8*(level+1)), head.Size); ok {
			tiles[t] = tree.JoinTile(f.Partial(level))
		}
	}
	return tiles, nil
}

// rebuiltTiles are tiles computed from entries instead of being read.
type rebuiltTiles map[tile.Tile][]byte

var _ tile.Reader = rebuiltTiles(nil)

func (b rebuiltTiles) ReadCheckpoint(context.Context) ([]byte, error) { return nil, fs.ErrNotExist }

func (b rebuiltTiles) ReadTile(_ context.Context, t tile.Tile) ([]byte, error) {
	data, ok := b[t]
	if !ok {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	return data, nil
}

// findEntry searches the bundles, beginning with the one that holds the entry at
// index from, for an entry other than the one in the tree with that head. It
// returns a contradiction without sighting, and false if it finds none. The error
// is about the first bundle that could not be compared with the tree; the bundles
// after it are searched all the same.
func findEntry(ctx context.Context, r tile.Reader, from uint64, head tree.Head) (e contradiction.Contradiction, found bool, err error) {
	p, err := tree.NewProven(ctx, r, head)
	if err != nil {
		return e, false, err
	}
	var unclear error // about the first bundle that could not be compared
	for b, err := range tree.Bundles(ctx, r, from, head.Size) {
		if err != nil {
			return e, false, err
		}
		var other *tree.EntryError
		if err := p.Check(ctx, b); errors.As(err, &other) {
			e, err = entryContradiction(ctx, p, b, other)
			return e, err == nil, err
		} else if unclear == nil {
			unclear = err
		}
	}
	return e, false, unclear
}

// entryContradiction returns the bytes of the entry that differs, with a proof of
// the leaf hash that the tree has in its place.
func entryContradiction(ctx context.Context, p *tree.Proven, b tree.Bundle, other *tree.EntryError) (e contradiction.Contradiction, err error) {
	entries, err := tile.SplitBundle(b.Data, b.Tile.Width)
	if err != nil {
		return e, err
	}
	hashes, err := proof.Inclusion(ctx, p, other.Index, p.Head().Size)
	if err != nil {
		return e, err
	}
	return contradiction.Contradiction{Kind: contradiction.Entry, Index: other.Index, Leaf: other.Want,
		Data: entries[other.Index-b.Tile.Start()], Hashes: hashes}, nil
}
