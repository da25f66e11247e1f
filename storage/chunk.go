package storage

import (
	"bytes"
	"context"
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
	decoder = sync.OnceValue(func() *zstd.Decoder { return newDecoder() })

	// hashedDecoder is for what will be hashed and compared: that finds whatever
	// the frame's checksum does, and says which entry it is in.
	hashedDecoder = sync.OnceValue(func() *zstd.Decoder { return newDecoder(zstd.IgnoreChecksum(true)) })
)

func newDecoder(options ...zstd.DOption) *zstd.Decoder {
	options = append(options, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(tile.Width*(2+tile.MaxEntry)))
	d, err := zstd.NewReader(nil, options...)
	if err != nil {
		panic(err)
	}
	return d
}

// Chunks returns the chunks that [Log.EachChunk] finds, all in memory at once.
func Chunks(ctx context.Context, l Log, start, end uint64) ([]Chunk, error) {
	var chunks []Chunk
	err := l.EachChunk(ctx, start, end, func(c Chunk) error {
		c.Data = bytes.Clone(c.Data)
		chunks = append(chunks, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return chunks, nil
}

// chunkLength is the number of entries in a full chunk. A bundle has two: to read
// one entry then costs half as much, they are hardly larger than one chunk, and
// with common events each fits into a page of PostgreSQL.
const chunkLength = tile.Width / 2

// ChunkEnd returns the index at which a chunk that begins at start is cut: its
// multiple of 128, unless what is committed ends before. Whatever writes a log cuts
// here, so that a log that is restored is laid out as one that was written.
func ChunkEnd(start uint64) uint64 { return start - start%chunkLength + chunkLength }

// EncodeChunk compresses count entries, given as they stand in a bundle. The
// entries must not straddle a multiple of 256.
func EncodeChunk(start uint64, count int, bundle []byte) Chunk {
	return Chunk{Start: start, Count: count, Data: encoder().EncodeAll(bundle, make([]byte, 0, len(bundle)/3+64))}
}

// Decode appends the chunk's entries to dst, as they stand in a bundle. The
// error is ErrDamaged, with the chunk's place, if they cannot be had.
func (c Chunk) Decode(dst []byte) ([]byte, error) { return c.decode(decoder(), dst) }

func (c Chunk) decode(decoder *zstd.Decoder, dst []byte) ([]byte, error) {
	n := len(dst)
	dst, err := decoder.DecodeAll(c.Data, dst)
	if err != nil {
		return nil, fmt.Errorf("chunk of entries %d to %d: %w: %w", c.Start, c.End()-1, ErrDamaged, err)
	}
	if err := tile.CheckBundle(dst[n:], c.Count); err != nil {
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

// entry returns the entry at index, which the chunk holds.
func (c Chunk) entry(index uint64) ([]byte, error) {
	buf := buffers.get()
	bundle, err := c.Decode(buf)
	if err != nil {
		buffers.put(buf)
		return nil, err
	}
	defer buffers.put(bundle)
	entry, rest, _ := tile.CutEntry(bundle)
	for range index - c.Start {
		entry, rest, _ = tile.CutEntry(rest)
	}
	return bytes.Clone(entry), nil
}

// follows fails unless the chunk holds entries from start on.
func (c Chunk) follows(start uint64) error {
	if c.Start != start || c.Count < 1 {
		return fmt.Errorf("entries from %d on: %w: the next chunk holds %d entries from %d on",
			start, ErrDamaged, c.Count, c.Start)
	}
	return nil
}

// buffers are those of bundles that nobody keeps. Each has room for a bundle of
// entries of 500 bytes, and gets more if need be.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

// get returns an empty buffer.
func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 512*tile.Width)
}

// put gives back what a buffer has become, unless that is unusually large.
func (p *bufferPool) put(b []byte) {
	if cap(b) <= 4096*tile.Width {
		p.pool.Put(&b)
	}
}
