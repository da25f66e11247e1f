package storage

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/stele-log/stele/pkg/tile"
)

// The frames are compressed one at a time by many goroutines, so each codec is
// shared and keeps no goroutine of its own.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(true))
		if err != nil {
			panic(err) // only the options can be wrong
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0),
			zstd.WithDecoderMaxMemory(tile.Width*(2+tile.MaxEntry)))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// EncodeChunk compresses count entries, given as they stand in a bundle. The
// entries must not straddle a multiple of 256.
func EncodeChunk(start uint64, count int, bundle []byte) Chunk {
	return Chunk{Start: start, Count: count, Data: encoder().EncodeAll(bundle, make([]byte, 0, len(bundle)/3+64))}
}

// Decode appends the chunk's entries to dst, as they stand in a bundle. The
// error is ErrDamaged, with the chunk's place, if they cannot be had.
func (c Chunk) Decode(dst []byte) ([]byte, error) {
	n := len(dst)
	dst, err := decoder().DecodeAll(c.Data, dst)
	if err != nil {
		return nil, fmt.Errorf("chunk of entries %d to %d: %w: %w", c.Start, c.End()-1, ErrDamaged, err)
	}
	if _, err := tile.SplitBundle(dst[n:], c.Count); err != nil {
		return nil, fmt.Errorf("chunk of entries %d to %d: %w: %w", c.Start, c.End()-1, ErrDamaged, err)
	}
	return dst, nil
}

// Entries returns the chunk's entries.
func (c Chunk) Entries() ([][]byte, error) {
	bundle, err := c.Decode(nil)
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(bundle, c.Count)
}
