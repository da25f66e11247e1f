package tree

import (
	"context"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/stele-log/stele/pkg/tile"
)

// A NodeReader gives the hashes of full subtrees, from which proofs are made, by
// the tile: a proof takes many from each of a few tiles.
type NodeReader interface {
	// ReadNodes returns the nodes of a tile, or of a wider one that t is a
	// prefix of.
	ReadNodes(ctx context.Context, t tile.Tile) (*Nodes, error)
}

// ReadNode returns the root of the full subtree over the 2^height entries from
// index<<height on.
func ReadNode(ctx context.Context, r NodeReader, height uint, index uint64) (Hash, error) {
	t, h, i := Locate(height, index)
	nodes, err := r.ReadNodes(ctx, t)
	if err != nil {
		return Hash{}, err
	}
	node, ok := nodes.Node(h, i)
	if !ok {
		return Hash{}, fmt.Errorf("%s has only %d hashes", t, nodes.Width())
	}
	return node, nil
}

// Nodes are the hashes of a tile together with those of the full subtrees
// within it. Nodes are not changed once made, and safe for concurrent use.
type Nodes struct {
	width int

	// rows holds the tile's hashes, then those of the full subtrees of 2 of
	// them, of 4, and so on, in one piece: a cache holds many Nodes.
	rows []byte
}

// NewNodes hashes a tile of 1 to 256 hashes.
func NewNodes(hashes []Hash) *Nodes {
	n := newNodes(len(hashes))
	for i, h := range hashes {
		copy(n.rows[i*HashSize:], h[:])
	}
	n.hash()
	return n
}

// ParseNodes hashes a tile of 1 to 256 hashes, given as its bytes. It fails
// unless there are exactly width of them.
func ParseNodes(data []byte, width int) (*Nodes, error) {
	if err := checkTile(data, width); err != nil {
		return nil, err
	}
	n := newNodes(width)
	copy(n.rows, data)
	n.hash()
	return n, nil
}

func newNodes(width int) *Nodes {
	hashes := 0
	for row := width; row > 0; row /= 2 {
		hashes += row
	}
	return &Nodes{width, make([]byte, hashes*HashSize)}
}

// hash sets every row but the first.
func (n *Nodes) hash() {
	below, above := n.rows, n.rows[n.width*HashSize:]
	for row := n.width / 2; row > 0; row /= 2 {
		for i := range row {
			pair := below[2*i*HashSize:]
			h := NodeHash(Hash(pair), Hash(pair[HashSize:]))
			copy(above[i*HashSize:], h[:])
		}
		below, above = above, above[row*HashSize:]
	}
}

// Width returns the number of hashes in the tile.
func (n *Nodes) Width() int { return n.width }

// Tile returns the tile's bytes, which must not be changed.
func (n *Nodes) Tile() []byte {
	end := n.width * HashSize
	return n.rows[:end:end]
}

// Node returns the root of the i-th full subtree of 2^height of the tile's
// hashes, and false if the tile is too narrow to have it.
func (n *Nodes) Node(height uint, i uint64) (Hash, bool) {
	if i >= uint64(n.width)>>height {
		return Hash{}, false
	}
	at := i
	for h := range height {
		at += uint64(n.width) >> h
	}
	return Hash(n.rows[at*HashSize:]), true
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

// cachedTiles is how many tiles TileNodes keeps, of 16 KiB with their inner
// nodes: the proofs that are made one after the other share most of theirs.
const cachedTiles = 256

// TileNodes returns a [NodeReader] over the tiles of a tree of the given size.
// Nothing is proven. It keeps the tiles that were used last, up to 4 MiB. It is
// safe for concurrent use.
func TileNodes(r tile.Reader, size uint64) NodeReader {
	tiles, err := lru.New[tile.Tile, *Nodes](cachedTiles)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return tileNodes{r, size, tiles}
}

type tileNodes struct {
	r     tile.Reader
	size  uint64
	tiles *lru.Cache[tile.Tile, *Nodes]
}

func (n tileNodes) ReadNodes(ctx context.Context, want tile.Tile) (*Nodes, error) {
	t, err := whole(want, n.size)
	if err != nil {
		return nil, err
	}
	nodes, ok := n.tiles.Get(t)
	if !ok {
		hashes, err := ReadTile(ctx, n.r, t)
		if err != nil {
			return nil, err
		}
		nodes = NewNodes(hashes)
		n.tiles.Add(t, nodes)
	}
	return nodes, nil
}

// whole returns a tile as wide as the tree of that size has it.
func whole(t tile.Tile, size uint64) (tile.Tile, error) {
	at, ok := tile.At(t.Level, t.Index, size)
	if !ok || at.Width < t.Width {
		return at, fmt.Errorf("%s is not in a tree of size %d", t, size)
	}
	return at, nil
}
