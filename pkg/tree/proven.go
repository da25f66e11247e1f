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
	index uint64
	nodes *Nodes
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

// ReadNodes returns the nodes of a tile, as wide as the tree has it.
func (p *Proven) ReadNodes(ctx context.Context, t tile.Tile) (*Nodes, error) {
	t, err := whole(t, p.head.Size)
	if err != nil {
		return nil, err
	}
	if last, ok := p.last[t.Level]; ok && last.index == t.Index {
		return last.nodes, nil
	}
	nodes, err := p.prove(ctx, t)
	if err != nil {
		return nil, err
	}
	p.last[t.Level] = provenTile{t.Index, nodes}
	return nodes, nil
}

func (p *Proven) prove(ctx context.Context, t tile.Tile) (*Nodes, error) {
	if !t.IsFull() {
		return NewNodes(p.edge.Partial(t.Level)), nil
	}
	want, err := p.root(ctx, t)
	if err != nil {
		return nil, err
	}
	hashes, err := ReadTile(ctx, p.r, t)
	if err != nil {
		return nil, err
	}
	nodes := NewNodes(hashes)
	if got, _ := nodes.Node(8, 0); got != want {
		return nil, fmt.Errorf("%s is not the one in the tree: its hash is %s, want %s", t, got, want)
	}
	return nodes, nil
}

// root returns the hash of a full tile, which stands in the tile above it.
func (p *Proven) root(ctx context.Context, t tile.Tile) (Hash, error) {
	return ReadNode(ctx, p, uint(8*(t.Level+1)), t.Index)
}

// An EntryError names an entry that is not the one in the tree.
type EntryError struct {
	Index uint64
	Leaf  Hash // of the entry
	Want  Hash // the leaf hash in the tree, which is proven
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("entry %d is not the one in the tree: its leaf hash is %s, want %s", e.Index, e.Leaf, e.Want)
}

// Check fails unless all entries of a bundle are those in the tree. The error is
// an [*EntryError] about the first that is not, if the tiles show which it is.
func (p *Proven) Check(ctx context.Context, b Bundle) error {
	leaves := b.Tile
	leaves.Level = 0
	if !leaves.In(p.head.Size) {
		return fmt.Errorf("%s is not in a tree of size %d", b.Tile, p.head.Size)
	}
	// A full bundle is proven by its root, and no tile of leaf hashes is read.
	if b.Tile.IsFull() {
		want, err := p.root(ctx, leaves)
		if err != nil {
			return err
		}
		if b.Root == want {
			return nil
		}
	}
	nodes, err := p.ReadNodes(ctx, leaves)
	if err != nil && b.Tile.IsFull() {
		err = fmt.Errorf("entries %d to %d are not those in the tree, and which of them cannot be told: %w",
			b.Tile.Start(), b.Tile.Start()+tile.Width-1, err)
	}
	if err != nil {
		return err
	}
	for i, leaf := range b.Leaves {
		if want, _ := nodes.Node(0, uint64(i)); leaf != want {
			return &EntryError{b.Tile.Start() + uint64(i), leaf, want}
		}
	}
	return nil
}
