// Package leafindex finds the index of an entry by its leaf hash. It is a
// follower: it reads the log's level 0 tiles in order and keeps a key index of
// them; the end of the log, which the key index does not cover yet, is searched
// tile by tile.
//
// It can be dropped and built anew. What it answers is compared with the leaf
// hash in the tree, so it can miss an entry but never name a wrong one.
//
// An Index is safe for concurrent use.
package leafindex

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

var (
	// ErrNotFound says that no entry below the size has the leaf hash.
	ErrNotFound = errors.New("no entry has this leaf hash")

	// ErrBehind says that too much of the log is not in the index yet.
	ErrBehind = errors.New("the index of leaf hashes is being built")
)

const (
	maxTail    = 1 << 20 // entries that are searched one by one
	retryDelay = time.Second
)

// An Index follows one log.
type Index struct {
	log    storage.Log
	reader *storage.Reader
	logger *slog.Logger

	keys atomic.Pointer[keyindex.Index]
	size atomic.Uint64 // committed
	wake chan struct{}
}

// Open reads how far the index has come.
func Open(ctx context.Context, log storage.Log, reader *storage.Reader, logger *slog.Logger) (*Index, error) {
	keys, err := keyindex.Open(ctx, log.Runs(), keyindex.Leaves)
	if err != nil {
		return nil, err
	}
	x := &Index{log: log, reader: reader, logger: logger, wake: make(chan struct{}, 1)}
	x.keys.Store(keys)
	return x, nil
}

// Committed says that this server has brought the log to a size. It does not
// block.
func (x *Index) Committed(head tree.Head) {
	x.size.Store(head.Size)
	if x.Lag() < keyindex.RunLength {
		return
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// Lag returns the number of committed entries that are not in the index.
func (x *Index) Lag() uint64 {
	size, end := x.size.Load(), x.keys.Load().End()
	return max(size, end) - end
}

// Run follows the log until the context ends.
func (x *Index) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		}
		for x.Lag() >= keyindex.RunLength && ctx.Err() == nil {
			err := x.add(ctx)
			if err == nil || ctx.Err() != nil {
				continue
			}
			x.logger.Error("the index of leaf hashes is behind, trying again", "error", err)
			select {
			case <-time.After(retryDelay):
			case <-ctx.Done():
			}
			// While another server wrote to the log it merged runs.
			if keys, err := keyindex.Open(ctx, x.log.Runs(), keyindex.Leaves); err == nil {
				x.keys.Store(keys)
			}
		}
	}
}

// add indexes the next entries.
func (x *Index) add(ctx context.Context) error {
	index := x.keys.Load()
	keys := make([]uint64, 0, keyindex.RunLength)
	next := index.End() / tile.Width
	// The cache is for tiles that are read again, and has to hash what it keeps.
	err := x.reader.ReadTiles(ctx, 0, next, next+keyindex.RunLength/tile.Width, func(data []byte) error {
		hashes, err := tree.SplitTile(data, tile.Width)
		if err != nil {
			return fmt.Errorf("%w: level 0, tile %d: %w", storage.ErrDamaged, next, err)
		}
		for _, h := range hashes {
			keys = append(keys, keyindex.LeafKey(h))
		}
		next++
		return nil
	})
	if err != nil {
		return err
	}
	return index.Add(ctx, keys, nil)
}

// tile returns the leaf hashes of the first width entries from start on.
func (x *Index) tile(ctx context.Context, start uint64, width int) ([]tree.Hash, error) {
	t := tile.Tile{Level: 0, Index: start / tile.Width, Width: width}
	data, err := x.reader.ReadTile(ctx, t)
	if err != nil {
		return nil, err
	}
	return tree.SplitTile(data, width)
}

// Find returns the index of the first entry with that leaf hash in the tree of
// the given size.
func (x *Index) Find(ctx context.Context, leaf tree.Hash, size uint64) (uint64, error) {
	keys := x.keys.Load()
	if x.size.Load() < size {
		// Another server writes to the log, and to the index.
		var err error
		if keys, err = keyindex.Open(ctx, x.log.Runs(), keyindex.Leaves); err != nil {
			return 0, err
		}
	}
	end := keys.End()
	matches, err := keys.Find(ctx, []uint64{keyindex.LeafKey(leaf)})
	if err != nil {
		return 0, err
	}
	for _, m := range matches {
		if m.Index >= size {
			continue
		}
		h, err := x.reader.ReadLeaf(ctx, m.Index)
		if err != nil {
			return 0, err
		}
		if h == leaf {
			return m.Index, nil
		}
	}
	return x.search(ctx, leaf, end, size)
}

// search looks for the leaf hash in the tiles from start up to size.
func (x *Index) search(ctx context.Context, leaf tree.Hash, start, size uint64) (uint64, error) {
	if size > start+maxTail {
		return 0, fmt.Errorf("%w: it covers %d of %d entries", ErrBehind, start, size)
	}
	for ; start < size; start += tile.Width {
		hashes, err := x.tile(ctx, start, int(min(tile.Width, size-start)))
		if err != nil {
			return 0, err
		}
		for i, h := range hashes {
			if h == leaf {
				return start + uint64(i), nil
			}
		}
	}
	return 0, ErrNotFound
}
