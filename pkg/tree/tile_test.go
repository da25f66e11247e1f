package tree_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func FuzzSplitTileAndJoinTileAreInverse(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, tree.HashSize-1))
	f.Add(slices.Concat(bytesOf(leaves(0, 3))...))
	f.Add(slices.Concat(bytesOf(leaves(0, tile.Width))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		width := len(data) / tree.HashSize
		hashes, err := tree.SplitTile(data, width)
		if whole := len(data)%tree.HashSize == 0; (err == nil) != whole {
			t.Fatalf("%d bytes: error %v", len(data), err)
		} else if !whole {
			return
		}
		joined := tree.JoinTile(hashes)
		if !bytes.Equal(joined, data) {
			t.Fatalf("%x comes back as %x", data, joined)
		}
		if again, err := tree.SplitTile(joined, width); err != nil || !slices.Equal(again, hashes) {
			t.Fatalf("%v come back as %v, error %v", hashes, again, err)
		}
	})
}
