package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// A Cache holds tiles of any number of logs in memory, with their inner nodes,
// so that proofs are lookups. It is safe for concurrent use.
type Cache struct {
	tiles *lru.Cache[cacheKey, *tree.Nodes]
}

type cacheKey struct {
	origin string
	level  int
	index  uint64
}

// tileCost is what one full tile takes in a Cache: its 511 hashes and what
// holds them, in bytes.
const tileCost = 511*tree.HashSize + 512

// NewCache returns a Cache of about the given size in bytes.
func NewCache(bytes int) *Cache {
	tiles, err := lru.New[cacheKey, *tree.Nodes](max(bytes/tileCost, 64))
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &Cache{tiles}
}

// A Reader serves a stored log as tiles, as nodes for proofs, and entry by
// entry. It is a [tile.Reader] and a [tree.NodeReader] over everything that is
// committed, published or not, and it trusts the database: a client
// that does not checks what it reads against a checkpoint. Safe for concurrent use.
type Reader struct {
	log    Log
	origin string
	cache  *Cache
}

// NewReader returns a Reader of log that keeps tiles in cache.
func NewReader(log Log, cache *Cache) *Reader {
	return &Reader{log, log.Info().Origin, cache}
}

// Log returns the log that the Reader serves.
func (r *Reader) Log() Log { return r.log }

// ReadCheckpoint returns the newest published checkpoint, or fs.ErrNotExist.
func (r *Reader) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	c, err := r.log.LastCheckpoint(ctx)
	return c.Note, readError(asNotExist(err))
}

// ReadTile returns the bytes of a tile or entry bundle, full or partial.
func (r *Reader) ReadTile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if t.Level == tile.Entries {
		bundle, err := r.readBundle(ctx, t)
		return bundle, readError(err)
	}
	nodes, err := r.ReadNodes(ctx, t)
	if err != nil {
		return nil, readError(asNotExist(err))
	}
	end := t.Width * tree.HashSize
	return nodes.Tile()[:end:end], nil
}

// ReadLeaf returns the leaf hash of the entry at index.
func (r *Reader) ReadLeaf(ctx context.Context, index uint64) (tree.Hash, error) {
	return tree.ReadNode(ctx, r, 0, index)
}

// ReadEntry returns the entry at index, or fs.ErrNotExist if the log is not that long.
func (r *Reader) ReadEntry(ctx context.Context, index uint64) ([]byte, error) {
	return orDamaged(ctx, r, func(size uint64) bool { return index < size }, func() ([]byte, error) { return r.readEntry(ctx, index) })
}

// orDamaged reads what trees of some sizes have in them. If it is missing, and the tree of
// the newest head has it, it may only have been committed meanwhile: it is read again, and
// the error is ErrDamaged if it is still missing.
func orDamaged[T any](ctx context.Context, r *Reader, in func(size uint64) bool, read func() (T, error)) (T, error) {
	result, err := read()
	for again := false; errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFound); again = true {
		head, failed := r.log.Head(ctx)
		switch {
		case failed != nil:
			return result, failed
		case !in(head.Size):
			return result, err
		case again:
			return result, fmt.Errorf("%w: the log has %d entries, and something of it is missing: %v", ErrDamaged, head.Size, err)
		}
		result, err = read()
	}
	return result, err
}

func (r *Reader) readEntry(ctx context.Context, index uint64) ([]byte, error) {
	var entry []byte
	found := false
	err := r.log.EachChunk(ctx, index, index+1, func(c Chunk) (err error) {
		entry, err = c.entry(index)
		found = true
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("entry %d: %w", index, fs.ErrNotExist)
	}
	return entry, err
}

// Frames returns an entry bundle as zstd frames that decompress, one after the
// other, to its bytes: the chunks as they are stored. It returns false if the
// bundle ends within a chunk, so that its bytes must be had from ReadTile.
func (r *Reader) Frames(ctx context.Context, t tile.Tile) ([][]byte, bool, error) {
	chunks, err := r.bundleChunks(ctx, t)
	if err != nil {
		return nil, false, err
	}
	if chunks[len(chunks)-1].End() != t.Start()+uint64(t.Width) {
		return nil, false, nil
	}
	frames := make([][]byte, len(chunks))
	for i, c := range chunks {
		frames[i] = c.Data
	}
	return frames, true, nil
}

func (r *Reader) readBundle(ctx context.Context, t tile.Tile) ([]byte, error) {
	chunks, err := r.bundleChunks(ctx, t)
	if err != nil {
		return nil, err
	}
	var bundle []byte
	for _, c := range chunks {
		if bundle, err = c.Decode(bundle); err != nil {
			return nil, err
		}
	}
	held := chunks[len(chunks)-1].End() - t.Start()
	return tile.Truncate(bundle, tile.Tile{Level: t.Level, Index: t.Index, Width: int(held)}, t.Width)
}

// bundleChunks returns the chunks that cover a bundle, without gaps.
func (r *Reader) bundleChunks(ctx context.Context, t tile.Tile) ([]Chunk, error) {
	return orDamaged(ctx, r, t.In, func() ([]Chunk, error) { return r.readChunks(ctx, t) })
}

func (r *Reader) readChunks(ctx context.Context, t tile.Tile) ([]Chunk, error) {
	start, end := t.Start(), t.Start()+uint64(t.Width)
	chunks, err := Chunks(ctx, r.log, start, end)
	if err != nil {
		return nil, err
	}
	if len(chunks) == 0 {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	for _, c := range chunks {
		if err := c.follows(start); err != nil {
			return nil, err
		}
		start = c.End()
	}
	if start < end {
		return nil, fmt.Errorf("%s: %w: the log ends at entry %d", t, fs.ErrNotExist, start)
	}
	return chunks, nil
}

// ReadNodes returns a tile at least as wide as t, from the cache if it can.
func (r *Reader) ReadNodes(ctx context.Context, t tile.Tile) (*tree.Nodes, error) {
	key := cacheKey{r.origin, t.Level, t.Index}
	cached, _ := r.cache.tiles.Get(key)
	if cached != nil && cached.Width() >= t.Width {
		return cached, nil
	}
	nodes, err := orDamaged(ctx, r, t.In, func() (*tree.Nodes, error) { return r.loadNodes(ctx, t, cached) })
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	r.cache.tiles.Add(key, nodes)
	return nodes, nil
}

// loadNodes reads a tile at least as wide as t: the stored tile if it is full by
// now, or else the partial tile, which begins with what is known of it.
func (r *Reader) loadNodes(ctx context.Context, t tile.Tile, known *tree.Nodes) (*tree.Nodes, error) {
	data, err := r.log.Tile(ctx, t.Level, t.Index)
	if err == nil {
		return tree.ParseNodes(data, tile.Width)
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	hashes := make([]tree.Hash, 0, tile.Width)
	if known != nil {
		if hashes, err = tree.SplitTile(known.Tile(), known.Width()); err != nil {
			return nil, err
		}
	}
	if t.Level > 0 {
		first := t.Index * tile.Width
		var roots []tree.Hash
		roots, err = r.log.TileRoots(ctx, t.Level-1, first+uint64(len(hashes)), first+uint64(t.Width))
		hashes = append(hashes, roots...)
	} else {
		hashes, err = r.hashEntries(ctx, t, hashes)
	}
	if err != nil {
		return nil, err
	}
	return tree.NewNodes(hashes), nil
}

// hashEntries appends the leaf hashes of the entries of a level 0 tile that are
// not in hashes yet: all there are, but at least the width of t.
func (r *Reader) hashEntries(ctx context.Context, t tile.Tile, hashes []tree.Hash) ([]tree.Hash, error) {
	next := t.Start() + uint64(len(hashes))
	chunks, err := Chunks(ctx, r.log, next, t.Start()+tile.Width)
	if err != nil {
		return nil, err
	}
	for _, c := range chunks {
		entries, err := c.Entries()
		if err != nil {
			return nil, err
		}
		if c.Start > next || c.End() <= next {
			return nil, fmt.Errorf("entry %d: %w: the next chunk begins at %d", next, ErrDamaged, c.Start)
		}
		for _, e := range entries[next-c.Start:] {
			hashes = append(hashes, tree.LeafHash(e))
		}
		next = c.End()
	}
	if len(hashes) < t.Width {
		return nil, fmt.Errorf("%w: the log ends at entry %d", fs.ErrNotExist, next)
	}
	return hashes, nil
}

// asNotExist gives ErrNotFound the name that readers of tiles know it by.
func asNotExist(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}
