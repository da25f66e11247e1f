package tree

import (
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/stele-log/stele/pkg/tile"
)

// A Frontier is the right edge of a tree, all that is needed to append to it.
// The zero Frontier is that of the empty tree. A Frontier is not safe for
// concurrent use.
type Frontier struct {
	size uint64

	// peaks are the roots of the full subtrees that make up the tree, from the
	// left and largest: one for each bit set in size.
	peaks []Hash

	// partial[l] are the hashes of the tile at level l that is not full yet.
	partial [][]Hash
}

// A FullTile is a tile that an append has completed.
type FullTile struct {
	Tile tile.Tile
	Root Hash   // the tile's own hash, one of the hashes of the tile above it
	Data []byte // 8192 bytes: 256 hashes
}

// Size returns the number of entries in the tree.
func (f *Frontier) Size() uint64 { return f.size }

// Head returns the head of the tree.
func (f *Frontier) Head() Head {
	if f.size == 0 {
		return Empty()
	}
	root := f.peaks[len(f.peaks)-1]
	for i := len(f.peaks) - 2; i >= 0; i-- {
		root = NodeHash(f.peaks[i], root)
	}
	return Head{Size: f.size, Root: root}
}

// Clone returns a copy that shares no memory with f.
func (f *Frontier) Clone() *Frontier {
	c := &Frontier{size: f.size, peaks: slices.Clone(f.peaks), partial: make([][]Hash, len(f.partial))}
	for l, hashes := range f.partial {
		c.partial[l] = append(make([]Hash, 0, tile.Width), hashes...)
	}
	return c
}

// Append adds leaf hashes to the tree, in order, and returns the tiles that
// became full, lower levels first within each entry.
func (f *Frontier) Append(leaves []Hash) []FullTile {
	var full []FullTile
	for _, leaf := range leaves {
		f.add(0, leaf, &full)
		f.join(0, leaf, &full)
	}
	return full
}

// AppendTile adds the 256 leaf hashes of a full tile, given by its root, as
// Append does, to a tree whose size is a multiple of 256. The tile itself is not
// among those returned.
func (f *Frontier) AppendTile(root Hash) []FullTile {
	var full []FullTile
	if len(f.partial) == 0 {
		f.partial = append(f.partial, make([]Hash, 0, tile.Width))
	}
	f.add(1, root, &full)
	f.join(8, root, &full)
	return full
}

// AppendBundle adds those entries of a bundle that the tree lacks, as Append
// does, and takes the bundle's root where it can. The tree must end within the
// bundle or where it begins.
func (f *Frontier) AppendBundle(b Bundle) []FullTile {
	if !b.Tile.IsFull() || f.size != b.Tile.Start() {
		return f.Append(b.Leaves[f.size-b.Tile.Start():])
	}
	leaves := b.Tile
	leaves.Level = 0
	return append([]FullTile{{leaves, b.Root, JoinTile(b.Leaves)}}, f.AppendTile(b.Root)...)
}

// join adds the root of a full subtree of 2^height entries to the peaks.
func (f *Frontier) join(height int, node Hash, full *[]FullTile) {
	size := f.size + 1<<height
	// Each trailing one bit of the old size is a peak that the new node
	// completes a larger subtree with.
	for ; f.size>>height&1 == 1; height++ {
		last := len(f.peaks) - 1
		node = NodeHash(f.peaks[last], node)
		f.peaks = f.peaks[:last]
		if above := height + 1; above%8 == 0 {
			(*full)[len(*full)-1].Root = node
			f.add(above/8, node, full)
		}
	}
	f.peaks = append(f.peaks, node)
	f.size = size
}

// add appends the root of a full subtree of 256^level entries, one of which is
// at index f.size, to the partial tile of its level.
func (f *Frontier) add(level int, h Hash, full *[]FullTile) {
	if level == len(f.partial) {
		f.partial = append(f.partial, make([]Hash, 0, tile.Width))
	}
	f.partial[level] = append(f.partial[level], h)
	if len(f.partial[level]) < tile.Width {
		return
	}
	*full = append(*full, FullTile{
		Tile: tile.Tile{Level: level, Index: f.size >> (8 * (level + 1)), Width: tile.Width},
		Data: JoinTile(f.partial[level]),
	})
	f.partial[level] = f.partial[level][:0]
}

// ReadFrontier reads the right edge of the tree of the given size: its partial
// tiles, at most one a level. Whether they are the right ones shows in the
// head, which the caller compares with the one expected.
func ReadFrontier(ctx context.Context, r tile.Reader, size uint64) (*Frontier, error) {
	f := &Frontier{size: size}
	for level := 0; size>>(8*level) > 0; level++ {
		hashes := make([]Hash, 0, tile.Width)
		n := size >> (8 * level)
		if t, ok := tile.At(level, n/tile.Width, size); ok {
			var err error
			if hashes, err = ReadTile(ctx, r, t); err != nil {
				return nil, fmt.Errorf("read frontier of size %d: %w", size, err)
			}
		}
		f.partial = append(f.partial, hashes)
	}
	for level := len(f.partial) - 1; level >= 0; level-- {
		f.peaks = append(f.peaks, peaks(f.partial[level])...)
	}
	return f, nil
}

// peaks returns the roots of the full subtrees over hashes, from the left and
// largest.
func peaks(hashes []Hash) []Hash {
	var roots []Hash
	for len(hashes) > 0 {
		n := 1 << (bits.Len(uint(len(hashes))) - 1)
		roots = append(roots, fullRoot(hashes[:n]))
		hashes = hashes[n:]
	}
	return roots
}

// Partial returns the hashes of the tile at a level that is not full yet: none
// if the last one is full, and nil if the tree has no tile at that level. They
// must not be changed, and may change with the next Append.
func (f *Frontier) Partial(level int) []Hash {
	if level >= len(f.partial) {
		return nil
	}
	return f.partial[level]
}
