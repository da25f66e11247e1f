package tree

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/pkg/tile"
)

// Proven reads tiles and proves each to be in the tree with a head that the
// caller trusts: a tile's hash stands in the tile above it, and so on up to the
// tiles at the tree's right edge, which together are the head. It is a
// [NodeReader], and for one goroutine.
type Proven struct {
	r    tile.Reader
	head Head
	edge *Frontier
	last map[int]provenTile // by level
}

type provenTile struct {
	index  uint64
	hashes []Hash
}

// NewProven reads the tiles at the right edge, and fails unless they are those
// of the head.
func NewProven(ctx context.Context, r tile.Reader, head Head) (*Proven, error) {
	edge, err := ReadFrontier(ctx, r, head.Size)
	if err != nil {
		return nil, err
	}
	if got := edge.Head(); got != head {
		return nil, fmt.Errorf("the tiles at the right edge of the tree have %v, want %v", got, head)
	}
	return &Proven{r, head, edge, map[int]provenTile{}}, nil
}

// Head returns the head of the tree.
func (p *Proven) Head() Head { return p.head }

// Hashes returns the hashes of a tile, as wide as the tree has it. They must not
// be changed.
func (p *Proven) Hashes(ctx context.Context, level int, index uint64) ([]Hash, error) {
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
	root, err := p.Root(ctx, level, index)
	if err != nil {
		return nil, err
	}
	hashes, err := ReadTile(ctx, p.r, t)
	if err != nil {
		return nil, err
	}
	if got := TileRoot(hashes); got != root {
		return nil, fmt.Errorf("%s is not the one in the tree: its hash is %s, want %s", t, got, root)
	}
	p.last[level] = provenTile{index, hashes}
	return hashes, nil
}

// Root returns the hash of a full tile, which stands in the tile above it.
func (p *Proven) Root(ctx context.Context, level int, index uint64) (Hash, error) {
	above, err := p.Hashes(ctx, level+1, index/tile.Width)
	if err != nil {
		return Hash{}, err
	}
	return above[index%tile.Width], nil
}

// ReadNodes returns the nodes of a tile, as wide as the tree has it.
func (p *Proven) ReadNodes(ctx context.Context, t tile.Tile) (*Nodes, error) {
	hashes, err := p.Hashes(ctx, t.Level, t.Index)
	if err != nil {
		return nil, err
	}
	return NewNodes(hashes), nil
}
