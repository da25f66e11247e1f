package storage

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/stele-log/stele/pkg/tile"
)

// ReadTiles reads the full tiles of a range with one query; see [tile.RangeReader]. It
// reads past the cache, which proofs have more use for. A connection to the database
// is kept meanwhile, so f must not call the Reader. A caller that reads bundles in a row
// hashes them, so the checksums of chunks are not compared: of a chunk that was changed
// and still decompresses, f is given what it has become.
func (r *Reader) ReadTiles(ctx context.Context, level int, start, end uint64, f func(data []byte) error) error {
	var failed error
	keep := func(data []byte) error {
		failed = f(data)
		return failed
	}
	var err error
	if level == tile.Entries {
		err = r.readBundles(ctx, start*tile.Width, end*tile.Width, keep)
	} else {
		err = r.readTiles(ctx, level, start, end, keep)
	}
	if failed != nil {
		return failed
	}
	return readError(err)
}

// readTiles calls f with the full tiles of a level from index start up to but not
// including end.
func (r *Reader) readTiles(ctx context.Context, level int, start, end uint64, f func(data []byte) error) error {
	next := start
	err := r.log.EachTile(ctx, level, start, end, func(index uint64, data []byte) error {
		if index != next {
			return fmt.Errorf("%w: the next tile that is stored is number %d", fs.ErrNotExist, index)
		}
		next++
		return f(data)
	})
	if err == nil && next < end {
		err = fmt.Errorf("%w: tiles are stored up to number %d", fs.ErrNotExist, next)
	}
	return err
}

// readBundles calls f with the full bundles of the entries from next up to but
// not including end.
func (r *Reader) readBundles(ctx context.Context, next, end uint64, f func(data []byte) error) error {
	bundle := buffers.get()
	defer func() { buffers.put(bundle) }()
	err := r.log.EachChunk(ctx, next, end, func(c Chunk) (err error) {
		if err := c.follows(next); err != nil {
			return err
		}
		if bundle, err = c.decode(hashedDecoder(), bundle); err != nil {
			return err
		}
		if next = c.End(); next%tile.Width != 0 {
			return nil
		}
		err = f(bundle)
		bundle = bundle[:0]
		return err
	})
	if err == nil && next < end {
		err = fmt.Errorf("%w: the log ends at entry %d", fs.ErrNotExist, next)
	}
	return err
}
