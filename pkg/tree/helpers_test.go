package tree_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func entry(i uint64) []byte { return binary.BigEndian.AppendUint64(nil, i) }

// leaves returns the leaf hashes of the entries from index from up to to.
func leaves(from, to uint64) []tree.Hash {
	hashes := make([]tree.Hash, 0, to-from)
	for i := from; i < to; i++ {
		hashes = append(hashes, tree.LeafHash(entry(i)))
	}
	return hashes
}

// A tlogTree is the tree of the same entries by an implementation that we did
// not write.
type tlogTree []tlog.Hash

func newTlogTree(t testing.TB, size uint64) *tlogTree {
	t.Helper()
	r := &tlogTree{}
	for i := range size {
		hashes, err := tlog.StoredHashes(int64(i), entry(i), r)
		if err != nil {
			t.Fatal(err)
		}
		*r = append(*r, hashes...)
	}
	return r
}

func (r *tlogTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = (*r)[index]
	}
	return hashes, nil
}

func (r *tlogTree) head(t testing.TB, size uint64) tree.Head {
	t.Helper()
	root, err := tlog.TreeHash(int64(size), r)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Head{Size: size, Root: tree.Hash(root)}
}

// tiles is a tile.Reader of the full tiles of a tree, which it also truncates.
type tiles map[tile.Tile][]byte

func (r tiles) add(full []tree.FullTile) {
	for _, t := range full {
		r[t.Tile] = t.Data
	}
}

func (r tiles) ReadCheckpoint(context.Context) ([]byte, error) { return nil, fs.ErrNotExist }

func (r tiles) ReadTile(_ context.Context, t tile.Tile) ([]byte, error) {
	if data, ok := r[t]; ok {
		return data, nil
	}
	data, ok := r[t.Full()]
	if !ok {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	return tile.Truncate(data, t.Full(), t.Width)
}

// readTiles returns all tiles of the tree of a size, partial ones too, by the
// other implementation.
func (r *tlogTree) readTiles(t testing.TB, size uint64) tiles {
	t.Helper()
	all := tiles{}
	for _, th := range tlog.NewTiles(8, 0, int64(size)) {
		data, err := tlog.ReadTileData(th, r)
		if err != nil {
			t.Fatal(err)
		}
		all[tile.Tile{Level: th.L, Index: uint64(th.N), Width: th.W}] = data
	}
	return all
}
