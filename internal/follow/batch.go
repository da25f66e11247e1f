package follow

import (
	"context"
	"fmt"
	"iter"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A Batch is adjacent entries of a log: those from Start up to but not including
// End. They are read when they are asked for.
type Batch struct {
	Start, End uint64
	log        *storage.Reader
}

// readAtOnce is the number of entries in memory while a batch is read: an entry has
// at most 64 KiB.
const readAtOnce = 1024

// Entries returns the batch's entries in order. It ends with the first error.
func (b Batch) Entries(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for next := b.Start; next < b.End; {
			entries, err := b.read(ctx, next, min(next+readAtOnce, b.End))
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			next += uint64(len(entries))
		}
	}
}

// read returns the entries from start up to but not including end.
func (b Batch) read(ctx context.Context, start, end uint64) ([][]byte, error) {
	chunks, err := storage.Chunks(ctx, b.log.Log(), start, end)
	if err != nil {
		return nil, err
	}
	all := make([][]byte, 0, end-start)
	for next := start; next < end; next = start + uint64(len(all)) {
		if len(chunks) == 0 || chunks[0].Start > next || chunks[0].End() <= next {
			return nil, fmt.Errorf("%w: entry %d is missing", storage.ErrDamaged, next)
		}
		entries, err := chunks[0].Entries()
		if err != nil {
			return nil, err
		}
		all = append(all, entries[next-chunks[0].Start:min(end, chunks[0].End())-chunks[0].Start]...)
		chunks = chunks[1:]
	}
	return all, nil
}

// Leaves returns the leaf hashes of the batch's entries, in order. Those of a batch
// of whole tiles are read by one query.
func (b Batch) Leaves(ctx context.Context) ([]tree.Hash, error) {
	leaves := make([]tree.Hash, 0, b.End-b.Start)
	for next := b.Start; next < b.End; next = b.Start + uint64(len(leaves)) {
		index, skip := next/tile.Width, next%tile.Width
		add := func(data []byte) error {
			hashes, err := tree.SplitTile(data, len(data)/tree.HashSize)
			if err != nil {
				return fmt.Errorf("%w: leaf hashes from entry %d on: %w", storage.ErrDamaged, next, err)
			}
			leaves = append(leaves, hashes[skip:]...)
			return nil
		}
		var err error
		if end := b.End / tile.Width; skip == 0 && index < end {
			// The cache is for tiles that are read again, and has to hash what it keeps.
			err = b.log.ReadTiles(ctx, 0, index, end, add)
		} else {
			var data []byte
			width := int(min(tile.Width, b.End-index*tile.Width))
			if data, err = b.log.ReadTile(ctx, tile.Tile{Index: index, Width: width}); err == nil {
				err = add(data)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return leaves, nil
}
