package tree

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/pkg/tile"
)

// ReadTile reads the hashes of a tile. Nothing is proven.
func ReadTile(ctx context.Context, r tile.Reader, t tile.Tile) ([]Hash, error) {
	data, err := r.ReadTile(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	hashes, err := SplitTile(data, t.Width)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return hashes, nil
}

// SplitTile returns the hashes of a tile's bytes. It fails unless there are
// exactly width of them.
func SplitTile(data []byte, width int) ([]Hash, error) {
	if err := checkTile(data, width); err != nil {
		return nil, err
	}
	hashes := make([]Hash, width, tile.Width)
	for i := range hashes {
		hashes[i] = Hash(data[i*HashSize:])
	}
	return hashes, nil
}

// JoinTile returns the bytes of a tile of these hashes, as [SplitTile] takes
// them.
func JoinTile(hashes []Hash) []byte {
	data := make([]byte, 0, len(hashes)*HashSize)
	for _, h := range hashes {
		data = append(data, h[:]...)
	}
	return data
}

func checkTile(data []byte, width int) error {
	if len(data) != width*HashSize {
		return fmt.Errorf("tile has %d bytes, want %d for %d hashes", len(data), width*HashSize, width)
	}
	return nil
}

// TileRoot returns the hash of a full tile, which stands in the tile above it.
func TileRoot(hashes []Hash) Hash { return fullRoot(hashes) }

// fullRoot returns the root over a power of two of hashes, up to 256.
func fullRoot(hashes []Hash) Hash {
	var above [tile.Width / 2]Hash
	row := hashes
	for len(row) > 1 {
		for i := range len(row) / 2 {
			above[i] = NodeHash(row[2*i], row[2*i+1])
		}
		row = above[:len(row)/2]
	}
	return row[0]
}
