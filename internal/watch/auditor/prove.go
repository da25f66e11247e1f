package auditor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

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

// A bundle is the leaf hashes of an entry bundle, or why there are none.
type bundle struct {
	t      tile.Tile
	leaves []tree.Hash
	err    error
}

// readLeaves reads and hashes the entry bundles of a tree of size to from the
// one with the entry at index from on: in parallel, and handed to use in order,
// from the entry at index from on.
func readLeaves(ctx context.Context, r tile.Reader, from, to uint64, use func([]tree.Hash) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := make(chan chan bundle, 8*runtime.GOMAXPROCS(0))
	go func() {
		defer close(ahead)
		for i := from / tile.Width; ctx.Err() == nil; i++ {
			t, ok := tile.At(tile.Entries, i, to)
			if !ok {
				return
			}
			one := make(chan bundle, 1)
			ahead <- one
			go func() { one <- readBundle(ctx, r, t) }()
		}
	}()
	var failed error
	for one := range ahead {
		b := <-one
		if failed != nil {
			continue // let the reader end
		}
		if failed = b.err; failed == nil {
			skip := max(from, b.t.Start()) - b.t.Start()
			failed = use(b.leaves[skip:])
		}
		if failed != nil {
			cancel()
		}
	}
	return errors.Join(failed, ctx.Err())
}

func readBundle(ctx context.Context, r tile.Reader, t tile.Tile) bundle {
	entries, err := readEntries(ctx, r, t)
	if err != nil {
		return bundle{t: t, err: err}
	}
	leaves := make([]tree.Hash, len(entries))
	for i, e := range entries {
		leaves[i] = tree.LeafHash(e)
	}
	return bundle{t: t, leaves: leaves}
}

func readEntries(ctx context.Context, r tile.Reader, t tile.Tile) ([][]byte, error) {
	data, err := r.ReadTile(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	entries, err := tile.SplitBundle(data, t.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return entries, nil
}

// grow hashes the entries that the tree of the frontier lacks to that size, and
// returns the frontier of the larger tree. hashed is told how many were added.
func grow(ctx context.Context, r tile.Reader, f *tree.Frontier, size uint64, hashed func(int)) (*tree.Frontier, error) {
	grown := f.Clone()
	if f.Size() == size {
		return grown, nil
	}
	err := readLeaves(ctx, r, f.Size(), size, func(leaves []tree.Hash) error {
		grown.Append(leaves)
		hashed(len(leaves))
		return nil
	})
	return grown, err
}

// rebuild hashes all entries of the tree with that head, and returns those of
// its tiles that relate it to the tree of the given size. The error is
// errOtherTree if the entries are of another tree.
func rebuild(ctx context.Context, r tile.Reader, head tree.Head, size uint64, hashed func(int)) (tile.Reader, error) {
	tiles := built{}
	var f tree.Frontier
	err := readLeaves(ctx, r, 0, head.Size, func(leaves []tree.Hash) error {
		for _, full := range f.Append(leaves) {
			if full.Tile.Level > 0 || full.Tile.Index == size/tile.Width {
				tiles[full.Tile] = full.Data
			}
		}
		hashed(len(leaves))
		return nil
	})
	if err != nil {
		return nil, err
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

// findEntry looks, among the entries from index from on, for one that is not
// the one in the tree with that head, whose tiles are proven on the way. It
// returns a contradiction without sighting, and false if it finds none.
func findEntry(ctx context.Context, r tile.Reader, from uint64, head tree.Head) (e contradiction.Contradiction, found bool, err error) {
	for i := from / tile.Width; ; i++ {
		t, ok := tile.At(tile.Entries, i, head.Size)
		if !ok {
			return e, false, nil
		}
		nodes := tree.TileNodes(r, head.Size)
		entries, err := readEntries(ctx, r, t)
		if err != nil {
			return e, false, err
		}
		for j, data := range entries {
			index := t.Start() + uint64(j)
			leaf, err := tree.ReadNode(ctx, nodes, 0, index)
			if err != nil {
				return e, false, err
			}
			if tree.LeafHash(data) == leaf {
				continue
			}
			e = contradiction.Contradiction{Kind: contradiction.Entry, Index: index, Leaf: leaf, Data: data}
			if e.Hashes, err = proof.Inclusion(ctx, nodes, index, head.Size); err != nil {
				return e, false, err
			}
			if err := proof.VerifyInclusion(leaf, index, head, e.Hashes); err != nil {
				return e, false, fmt.Errorf("%w: %s and the tiles above it: %w", errOtherTree, t, err)
			}
			return e, true, nil
		}
	}
}
