package mirror

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// proven reads tiles of a log and proves each to be in the tree with a signed
// head: its hash stands in the tile above it, and so on up to the tiles at the
// tree's right edge, which together are the head. It is a [tree.NodeReader],
// for one goroutine.
type proven struct {
	log  tile.Reader
	head tree.Head
	edge *tree.Frontier
	last map[int]provenTile // by level
}

type provenTile struct {
	index  uint64
	hashes []tree.Hash
}

func newProven(ctx context.Context, log tile.Reader, head tree.Head) (*proven, error) {
	edge, err := tree.ReadFrontier(ctx, log, head.Size)
	if err != nil {
		return nil, err
	}
	if got := edge.Head(); got != head {
		return nil, fmt.Errorf("the tiles at the right edge of the tree have %v, the checkpoint signs %v", got, head)
	}
	return &proven{log, head, edge, map[int]provenTile{}}, nil
}

// hashes returns the hashes of a tile, as wide as the tree has it.
func (p *proven) hashes(ctx context.Context, level int, index uint64) ([]tree.Hash, error) {
	t, ok := tile.At(level, index, p.head.Size)
	if !ok {
		return nil, fmt.Errorf("there is no tile %d at level %d in a tree of %d entries", index, level, p.head.Size)
	}
	if !t.IsFull() {
		return p.edge.Partial(level), nil
	}
	if last, ok := p.last[level]; ok && last.index == index {
		return last.hashes, nil
	}
	root, err := p.root(ctx, level, index)
	if err != nil {
		return nil, err
	}
	hashes, err := readHashes(ctx, p.log, t)
	if err != nil {
		return nil, err
	}
	if got := tree.TileRoot(hashes); got != root {
		return nil, fmt.Errorf("%s is not the one in the tree: its hash is %s, want %s", t, got, root)
	}
	p.last[level] = provenTile{index, hashes}
	return hashes, nil
}

// root returns the hash of a full tile.
func (p *proven) root(ctx context.Context, level int, index uint64) (tree.Hash, error) {
	above, err := p.hashes(ctx, level+1, index/tile.Width)
	if err != nil {
		return tree.Hash{}, err
	}
	return above[index%tile.Width], nil
}

// ReadNode implements tree.NodeReader.
func (p *proven) ReadNode(ctx context.Context, height uint, index uint64) (tree.Hash, error) {
	t, h, i := tree.Locate(height, index)
	hashes, err := p.hashes(ctx, t.Level, t.Index)
	if err != nil {
		return tree.Hash{}, err
	}
	node, ok := tree.NewNodes(hashes).Node(h, i)
	if !ok {
		return tree.Hash{}, fmt.Errorf("subtree of 2^%d entries at %d is not in a tree of size %d", height, index, p.head.Size)
	}
	return node, nil
}

func readHashes(ctx context.Context, log tile.Reader, t tile.Tile) ([]tree.Hash, error) {
	data, err := log.ReadTile(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	hashes, err := tree.SplitTile(data, t.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return hashes, nil
}
