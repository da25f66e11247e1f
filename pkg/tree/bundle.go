package tree

import (
	"context"
	"fmt"
	"iter"

	"github.com/stele-log/stele/pkg/internal/inorder"
	"github.com/stele-log/stele/pkg/tile"
)

// A Bundle is an entry bundle with the hashes of its entries. It is made by
// [HashBundle], and must not be changed.
type Bundle struct {
	Tile   tile.Tile // at the level tile.Entries
	Data   []byte    // as [tile.SplitBundle] takes it
	Leaves []Hash    // the leaf hashes of its entries
	Root   Hash      // if it is full, the hash of the tile of these leaves
}

// HashBundle hashes the entries of bundle t, given as its bytes, which the
// Bundle keeps. It fails unless they are exactly t.Width whole entries.
func HashBundle(t tile.Tile, data []byte) (Bundle, error) {
	leaves, err := LeafHashes(data, t.Width)
	if err != nil {
		return Bundle{}, fmt.Errorf("%s: %w", t, err)
	}
	b := Bundle{Tile: t, Data: data, Leaves: leaves}
	if t.IsFull() {
		b.Root = TileRoot(leaves)
	}
	return b, nil
}

// ReadBundle reads and hashes a bundle. Nothing is proven: that is for
// [Proven.Check].
func ReadBundle(ctx context.Context, r tile.Reader, t tile.Tile) (Bundle, error) {
	data, err := r.ReadTile(ctx, t)
	if err != nil {
		return Bundle{}, fmt.Errorf("read %s: %w", t, err)
	}
	return HashBundle(t, data)
}

// ahead is how many bundles [Bundles] reads at once or holds; each has at most
// 16 MiB, and mostly a hundredth of it.
const ahead = 16

// Bundles reads the entry bundles of a tree of the given size, from the one with
// the entry at index start on, and yields them in order, as [ReadBundle] returns
// them. It reads and hashes up to 16 at once. The first error ends it, after the
// bundles before it. When the loop ends, reading has ended.
func Bundles(ctx context.Context, r tile.Reader, start, size uint64) iter.Seq2[Bundle, error] {
	names := func(yield func(tile.Tile) bool) {
		for i := start / tile.Width; ; i++ {
			t, ok := tile.At(tile.Entries, i, size)
			if !ok || !yield(t) {
				return
			}
		}
	}
	return inorder.Map(ctx, ahead, names, func(ctx context.Context, t tile.Tile) (Bundle, error) {
		return ReadBundle(ctx, r, t)
	})
}
