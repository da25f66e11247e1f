// Package leafindex finds the index of an entry by its leaf hash. It is a follower
// of committed entries, which keeps a key index of leaf hashes; the end of the log,
// which the key index does not cover yet, is searched tile by tile.
//
// What it answers is compared with the leaf hash in the tree, so it can miss an
// entry but never name a wrong one.
//
// An Index is safe for concurrent use.
package leafindex

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stele-log/stele/internal/follow"
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

const maxTail = 1 << 20 // entries that are searched one by one

// An Index is the index of leaf hashes of each log of a server.
type Index struct {
	keys sync.Map // *keyindex.Index by the log's origin, of the logs that are followed
}

var _ follow.Follower = (*Index)(nil)

// New returns an Index that follows no log yet. It answers for each all the same.
func New() *Index { return &Index{} }

// Name is "leaf-index".
func (x *Index) Name() string { return "leaf-index" }

// Version is that of the stored pages.
func (x *Index) Version() int { return 1 }

// Upto is Committed: a leaf hash is known as soon as its event is acknowledged.
func (x *Index) Upto() follow.Scope { return follow.Committed }

// Open opens the key index of a log.
func (x *Index) Open(ctx context.Context, log *storage.Reader) (follow.State, error) {
	keys, err := keyindex.Open(ctx, log.Log().Runs(), keyindex.Leaves)
	if err != nil {
		return nil, err
	}
	x.keys.Store(log.Log().Info().Origin, keys)
	return state{x, keys}, nil
}

// Drop removes the key index of a log.
func (x *Index) Drop(ctx context.Context, log *storage.Reader, move storage.Move) error {
	x.keys.Delete(log.Log().Info().Origin)
	return log.Log().Runs().Drop(ctx, keyindex.Leaves, move)
}

// A state is the key index of one log.
type state struct {
	index *Index
	keys  *keyindex.Index
}

func (s state) Next() uint64 { return s.keys.End() }
func (s state) Step() uint64 { return keyindex.RunLength }

// Apply stores a run.
func (s state) Apply(ctx context.Context, b follow.Batch) error {
	leaves, err := b.Leaves(ctx)
	if err != nil {
		return err
	}
	keys := make([]uint64, len(leaves))
	for i, h := range leaves {
		keys[i] = keyindex.LeafKey(h)
	}
	return s.keys.Add(ctx, keys, new(follow.Move(s.index, b.Start, b.End)))
}

// Find returns the index of the first entry with that leaf hash in the tree of
// the given size, or ErrNotFound or ErrBehind.
func (x *Index) Find(ctx context.Context, log *storage.Reader, leaf tree.Hash, size uint64) (uint64, error) {
	keys, err := x.covering(ctx, log, size)
	if err != nil {
		return 0, err
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
		h, err := log.ReadLeaf(ctx, m.Index)
		if err != nil {
			return 0, err
		}
		if h == leaf {
			return m.Index, nil
		}
	}
	return search(ctx, log, leaf, end, size)
}

// covering returns the key index of a log, which should cover all but a run of size
// entries: if the one that this server has in memory does not, another server may
// have come further.
func (x *Index) covering(ctx context.Context, log *storage.Reader, size uint64) (*keyindex.Index, error) {
	if known, ok := x.keys.Load(log.Log().Info().Origin); ok {
		if keys := known.(*keyindex.Index); keys.End()+keyindex.RunLength > size {
			return keys, nil
		}
	}
	return keyindex.Open(ctx, log.Log().Runs(), keyindex.Leaves)
}

// search looks for the leaf hash in the tiles from start up to size.
func search(ctx context.Context, log *storage.Reader, leaf tree.Hash, start, size uint64) (uint64, error) {
	if size > start+maxTail {
		return 0, fmt.Errorf("%w: it covers %d of %d entries", ErrBehind, start, size)
	}
	for ; start < size; start += tile.Width {
		width := int(min(tile.Width, size-start))
		data, err := log.ReadTile(ctx, tile.Tile{Level: 0, Index: start / tile.Width, Width: width})
		if err != nil {
			return 0, err
		}
		hashes, err := tree.SplitTile(data, width)
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
