package tree

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/pkg/tile"
)

// A NodeReader gives the hashes of full subtrees, of which proofs are made.
type NodeReader interface {
	// ReadNode returns the root of the full subtree over the 2^height entries
	// from index<<height on.
	ReadNode(ctx context.Context, height uint, index uint64) (Hash, error)
}

// Nodes are the hashes of a tile together with those of the full subtrees
// within it. Nodes are not changed once made, and safe for concurrent use.
type Nodes struct {
	rows [9][]Hash // rows[h] are the full subtrees of 2^h of the tile's hashes
}

// NewNodes hashes a tile of 1 to 256 hashes, which it keeps.
func NewNodes(hashes []Hash) *Nodes {
	n := &Nodes{}
	n.rows[0] = hashes
	for h := 1; h < len(n.rows); h++ {
		below := n.rows[h-1]
		row := make([]Hash, len(below)/2)
		for i := range row {
			row[i] = NodeHash(below[2*i], below[2*i+1])
		}
		n.rows[h] = row
	}
	return n
}

// Width returns the number of hashes in the tile.
func (n *Nodes) Width() int { return len(n.rows[0]) }

// Hashes returns the tile's own hashes, which must not be changed.
func (n *Nodes) Hashes() []Hash { return n.rows[0] }

// Node returns the root of the i-th full subtree of 2^height of the tile's
// hashes, and false if the tile is too narrow to have it.
func (n *Nodes) Node(height uint, i uint64) (Hash, bool) {
	if height >= uint(len(n.rows)) || i >= uint64(len(n.rows[height])) {
		return Hash{}, false
	}
	return n.rows[height][i], true
}

// Locate returns the tile that holds, or whose hashes cover, the full subtree
// of 2^height entries at index, and its place there: the i-th subtree of 2^h
// hashes. The tile's width is the least one that has it.
func Locate(height uint, index uint64) (t tile.Tile, h uint, i uint64) {
	h = height % 8
	i = index % (tile.Width >> h)
	return tile.Tile{
		Level: int(height / 8),
		Index: index / (tile.Width >> h),
		Width: int((i + 1) << h),
	}, h, i
}

// TileNodes returns a NodeReader over the tiles of a tree of the given size. It
// keeps the tiles it has read, and is made for one proof or a few.
func TileNodes(r tile.Reader, size uint64) NodeReader {
	return &tileNodes{r: r, size: size, tiles: map[tile.Tile]*Nodes{}}
}

type tileNodes struct {
	r     tile.Reader
	size  uint64
	tiles map[tile.Tile]*Nodes
}

func (n *tileNodes) ReadNode(ctx context.Context, height uint, index uint64) (Hash, error) {
	want, h, i := Locate(height, index)
	t, ok := tile.At(want.Level, want.Index, n.size)
	if !ok || t.Width < want.Width {
		return Hash{}, fmt.Errorf("subtree of 2^%d entries at %d is not in a tree of size %d", height, index, n.size)
	}
	nodes, ok := n.tiles[t]
	if !ok {
		data, err := n.r.ReadTile(ctx, t)
		if err != nil {
			return Hash{}, fmt.Errorf("read %s: %w", t, err)
		}
		hashes, err := SplitTile(data, t.Width)
		if err != nil {
			return Hash{}, fmt.Errorf("%s: %w", t, err)
		}
		nodes = NewNodes(hashes)
		n.tiles[t] = nodes
	}
	node, _ := nodes.Node(h, i)
	return node, nil
}
