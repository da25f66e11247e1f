package tree_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// fullRoot returns the root over a power of two of leaves, as RFC 6962 defines
// it.
func fullRoot(hashes []tree.Hash) tree.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	mid := len(hashes) / 2
	return tree.NodeHash(fullRoot(hashes[:mid]), fullRoot(hashes[mid:]))
}

func TestNodesAreTheFullSubtrees(t *testing.T) {
	t.Parallel()
	for _, width := range []int{1, 2, 3, 127, 128, 255, 256} {
		hashes := leaves(0, uint64(width))
		n := tree.NewNodes(hashes)
		data := slices.Concat(bytesOf(hashes)...)
		if n.Width() != width || !bytes.Equal(n.Tile(), data) {
			t.Errorf("width is %d, want %d, or its bytes are not those of its hashes", n.Width(), width)
		}
		if parsed, err := tree.ParseNodes(data, width); err != nil || !reflect.DeepEqual(parsed, n) {
			t.Errorf("width %d: parsed from bytes it is another, error %v", width, err)
		}
		for height := uint(0); height <= 9; height++ {
			for i := range 257 {
				want := (i + 1) << height
				got, ok := n.Node(height, uint64(i))
				if ok != (want <= width) {
					t.Fatalf("width %d: node %d of height %d is there: %t", width, i, height, ok)
				}
				if ok && got != fullRoot(hashes[i<<height:want]) {
					t.Fatalf("width %d: node %d of height %d is %s", width, i, height, got)
				}
			}
		}
	}
}

// bytesOf returns the bytes of each hash.
func bytesOf(hashes []tree.Hash) [][]byte {
	b := make([][]byte, len(hashes))
	for i := range hashes {
		b[i] = hashes[i][:]
	}
	return b
}

func TestParseNodesRefuses(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 31, 3*tree.HashSize - 1, 3*tree.HashSize + 1, 4 * tree.HashSize} {
		if _, err := tree.ParseNodes(make([]byte, size), 3); err == nil {
			t.Errorf("%d bytes are taken for 3 hashes", size)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		height uint
		index  uint64
		tile   tile.Tile
		h      uint
		i      uint64
	}{
		{0, 0, tile.Tile{Level: 0, Index: 0, Width: 1}, 0, 0},
		{0, 255, tile.Tile{Level: 0, Index: 0, Width: 256}, 0, 255},
		{0, 256, tile.Tile{Level: 0, Index: 1, Width: 1}, 0, 0},
		{3, 31, tile.Tile{Level: 0, Index: 0, Width: 256}, 3, 31},
		{3, 32, tile.Tile{Level: 0, Index: 1, Width: 8}, 3, 0},
		{7, 1, tile.Tile{Level: 0, Index: 0, Width: 256}, 7, 1},
		{8, 1, tile.Tile{Level: 1, Index: 0, Width: 2}, 0, 1},
		{9, 128, tile.Tile{Level: 1, Index: 1, Width: 2}, 1, 0},
		{63, 0, tile.Tile{Level: 7, Index: 0, Width: 128}, 7, 0},
	}
	for _, tt := range tests {
		if at, h, i := tree.Locate(tt.height, tt.index); at != tt.tile || h != tt.h || i != tt.i {
			t.Errorf("height %d, index %d is at %+v, %d, %d", tt.height, tt.index, at, h, i)
		}
	}
}

// counting counts what is read.
type counting struct {
	tiles
	n int
}

func (r *counting) ReadTile(ctx context.Context, t tile.Tile) ([]byte, error) {
	r.n++
	return r.tiles.ReadTile(ctx, t)
}

func TestTileNodesReadsEachFullSubtree(t *testing.T) {
	t.Parallel()
	all := leaves(0, 66_000)
	other := newTlogTree(t, 66_000)
	for _, size := range []uint64{1, 2, 255, 256, 257, 700, 65536, 66_000} {
		all := all[:size]
		r := &counting{tiles: other.readTiles(t, size)}
		nodes := tree.TileNodes(r, size)
		for height := uint(0); height <= 17; height++ {
			last := size >> height // the first index that is not whole
			for index := range last + 2 {
				if last > 300 && index > 10 && index+10 < last {
					continue
				}
				got, err := tree.ReadNode(t.Context(), nodes, height, index)
				if index >= last {
					if err == nil {
						t.Fatalf("size %d: height %d, index %d is %s", size, height, index, got)
					}
					continue
				}
				if want := fullRoot(all[index<<height : (index+1)<<height]); err != nil || got != want {
					t.Fatalf("size %d: height %d, index %d is %s (%v), want %s", size, height, index, got, err, want)
				}
			}
		}
		if r.n > len(r.tiles) {
			t.Errorf("size %d: %d reads of %d tiles", size, r.n, len(r.tiles))
		}
	}
}

func TestTileNodesRefuses(t *testing.T) {
	t.Parallel()
	nodes := tree.TileNodes(tiles{}, 300)
	_, err := tree.ReadNode(t.Context(), nodes, 0, 299)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the tile the error is %v", err)
	}
	for _, height := range []uint{8, 9, 63, 64, 65, 1 << 20} {
		_, err := tree.ReadNode(t.Context(), nodes, height, 1)
		wantError(t, err, "is not in a tree of size 300")
	}
	short := tiles{tile.Tile{Width: 2}: make([]byte, 63)}
	_, err = tree.ReadNode(t.Context(), tree.TileNodes(short, 2), 0, 0)
	wantError(t, err, "tile has 63 bytes, want 64")
}
