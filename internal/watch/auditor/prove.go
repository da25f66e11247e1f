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

// A relation says what the tree of a larger head was at the size of a smaller
// one, with the consistency proof of that.
type relation struct {
	prefix tree.Hash
	hashes []tree.Hash
}

// errOtherTree says that tiles or entries are not those of the head they were
// read for, so that they prove nothing about it.
var errOtherTree = errors.New("what is served is not of the tree that was signed")

// relate reads the tiles of the tree with the larger head and returns what its
// prefix of the smaller size is. It returns nothing that is not proven by the
// larger head. The error is errOtherTree if the tiles are of another tree.
func relate(ctx context.Context, r tile.Reader, size uint64, larger tree.Head) (relation, error) {
	if size == 0 {
		return relation{prefix: tree.EmptyRoot}, nil
	}
	nodes := tree.TileNodes(r, larger.Size)
	hashes, err := proof.Consistency(ctx, nodes, size, larger.Size)
	if err != nil {
		return relation{}, err
	}
	prefix, err := prefixRoot(ctx, nodes, size)
	if err != nil {
		return relation{}, err
	}
	if err := proof.VerifyConsistency(tree.Head{Size: size, Root: prefix}, larger, hashes); err != nil {
		return relation{}, fmt.Errorf("%w: %w", errOtherTree, err)
	}
	return relation{prefix, hashes}, nil
}

// prefixRoot returns the root of the first size entries, of which there is one
// at least.
func prefixRoot(ctx context.Context, nodes tree.NodeReader, size uint64) (root tree.Hash, err error) {
	// The full subtrees that make up the tree, from the right and smallest.
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

// grow hashes the entries that the tree of the frontier lacks to that size, and
// returns the frontier of the larger tree. hashed is told how many were added.
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

// rebuild hashes all entries of the tree with that head, and returns those of
// its tiles that relate it to the tree of the given size. The error is
// errOtherTree if the entries are of another tree.
func rebuild(ctx context.Context, r tile.Reader, head tree.Head, size uint64, hashed func(int)) (tile.Reader, error) {
	tiles := built{}
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
		return nil, fmt.Errorf("%w: the entries have %v, signed is %v", errOtherTree, got, head)
	}
	for level := 0; f.Partial(level) != nil; level++ {
		if t, ok := tile.At(level, head.Size>>(8*(level+1)), head.Size); ok {
			tiles[t] = tree.JoinTile(f.Partial(level))
		}
	}
	return tiles, nil
}

// built are tiles that were hashed from entries.
type built map[tile.Tile][]byte

func (b built) ReadCheckpoint(context.Context) ([]byte, error) { return nil, fs.ErrNotExist }

func (b built) ReadTile(_ context.Context, t tile.Tile) ([]byte, error) {
	data, ok := b[t]
	if !ok {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	return data, nil
}

// findEntry looks, in the bundles from the one with the entry at index from on,
// for an entry that is not the one in the tree with that head. It returns a
// contradiction without sighting, and false if it finds none. The error is about
// the first bundle that it could not judge.
func findEntry(ctx context.Context, r tile.Reader, from uint64, head tree.Head) (e contradiction.Contradiction, found bool, err error) {
	p, err := tree.NewProven(ctx, r, head)
	if err != nil {
		return e, false, err
	}
	var unclear error // of the first bundle that cannot be judged
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

// entryContradiction proves which leaf hash the tree has for an entry of a
// bundle that has another.
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
