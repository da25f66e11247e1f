package postgres

// This file is the log itself: one write, Commit, and the reads of what was
// written. Each method runs one statement on a connection of the pool, so none
// holds a transaction open while its caller does something else. pgx prepares each
// statement once for a connection and sends and receives values in binary; a chunk
// or a tile is therefore never spelled out as text.

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/column"
)

// A Log is one log in a Store. Its number is what the tables and the advisory locks
// know it by, and means nothing outside the database.
type Log struct {
	store *Store
	id    int32
	info  storage.Info
}

var _ storage.Log = (*Log)(nil)

func (l *Log) Info() storage.Info { return l.info }

// Head reads the newest row of heads. It is what the sequencer asks after a commit
// whose outcome it does not know: the commit took place if the head is its own.
func (l *Log) Head(ctx context.Context) (h storage.CommittedHead, err error) {
	var root []byte
	err = l.store.queryRow(ctx, sqlHead, pgx.StrictNamedArgs{"log": l.id}, &h.Size, &root, &h.Base, &h.Epoch, &h.MAC)
	if err == nil {
		h.Root, err = column.ToHash(root)
	}
	if err != nil {
		return storage.CommittedHead{}, fmt.Errorf("read head of log %q: %w", l.info.Name, err)
	}
	return h, nil
}

func (l *Log) Heads(ctx context.Context, first uint64, limit int) ([]storage.CommittedHead, error) {
	heads, err := collect(ctx, l.store, func(row pgx.CollectableRow) (h storage.CommittedHead, err error) {
		var root []byte
		if err := row.Scan(&h.Size, &root, &h.Base, &h.Epoch, &h.MAC); err != nil {
			return h, err
		}
		h.Root, err = column.ToHash(root)
		return h, err
	}, sqlHeads, pgx.StrictNamedArgs{"log": l.id, "first": column.Bound(first), "limit": limit})
	if err != nil {
		return nil, fmt.Errorf("read heads of log %q from size %d on: %w", l.info.Name, first, err)
	}
	return heads, nil
}

// Commit runs sqlCommit, and nothing else, so a crash of the server or of the
// database leaves the whole batch or none of it. There is no BEGIN, so no transaction
// stays open, with its locks, if this process stops between two statements.
//
// The schema decides whether the batch is accepted, and sentinel names the reason:
// check_newest refuses an old epoch or an old base, heads_base_key all but one of the
// commits that race, check_cover a batch whose chunks leave a gap. A connection that
// breaks leaves the outcome unknown, and so does a warning, see write; pgx does not send
// the statement again.
func (l *Log) Commit(ctx context.Context, batch storage.Batch) error {
	if err := l.store.write(ctx, commitTimeout, sqlCommit, l.commitArgs(batch)); err != nil {
		return fmt.Errorf("commit entries %d to %d of log %q: %w",
			batch.Base, batch.Head.Size, l.info.Name, err)
	}
	return nil
}

// commitArgs turns the rows of a batch into one array a column. The text of the
// statement is then the same for a batch of any size, so that it is prepared once.
func (l *Log) commitArgs(batch storage.Batch) pgx.StrictNamedArgs {
	starts := make([]uint64, len(batch.Chunks))
	counts := make([]int, len(batch.Chunks))
	chunks := make([][]byte, len(batch.Chunks))
	for i, c := range batch.Chunks {
		starts[i], counts[i], chunks[i] = c.Start, c.Count, c.Data
	}
	levels := make([]int, len(batch.Tiles))
	indexes := make([]uint64, len(batch.Tiles))
	roots := make([][]byte, len(batch.Tiles))
	tiles := make([][]byte, len(batch.Tiles))
	for i, t := range batch.Tiles {
		levels[i], indexes[i], roots[i], tiles[i] = t.Tile.Level, t.Tile.Index, t.Root[:], t.Data
	}
	return pgx.StrictNamedArgs{
		"log": l.id, "size": batch.Head.Size, "base": batch.Base, "root": batch.Head.Root[:], "epoch": batch.Epoch, "mac": batch.MAC,
		"starts": starts, "counts": counts, "chunks": chunks,
		"levels": levels, "indexes": indexes, "roots": roots, "tiles": tiles,
	}
}

// EachChunk hands each chunk on in the connection's read buffer (DriverBytes), which
// the next row overwrites, so a range of any length takes the memory of about one chunk.
// The connection goes back to the pool after the last row or an error of f.
func (l *Log) EachChunk(ctx context.Context, start, end uint64, f func(storage.Chunk) error) error {
	err, failed := l.eachChunk(ctx, f, sqlChunks, pgx.StrictNamedArgs{
		"log": l.id, "start": column.Bound(start), "end": column.Bound(end),
	})
	if failed == nil && err != nil {
		return fmt.Errorf("read entries %d to %d of log %q: %w", start, end, l.info.Name, err)
	}
	return failed
}

func (l *Log) EachChunkOf(ctx context.Context, bundles []uint64, f func(storage.Chunk) error) error {
	err, failed := l.eachChunk(ctx, f, sqlChunksOf, pgx.StrictNamedArgs{"log": l.id, "bundles": bundles})
	if failed == nil && err != nil {
		return fmt.Errorf("read %d bundles of log %q: %w", len(bundles), l.info.Name, err)
	}
	return failed
}

// eachChunk calls f with the chunks that a query yields, and returns the database's
// error and that of f.
func (l *Log) eachChunk(ctx context.Context, f func(storage.Chunk) error, query string, args pgx.StrictNamedArgs) (err, failed error) {
	err = l.store.each(ctx, query, args, func(row pgx.CollectableRow) error {
		var c storage.Chunk
		if err := row.Scan(&c.Start, &c.Count, (*pgtype.DriverBytes)(&c.Data)); err != nil {
			return err
		}
		failed = f(c)
		return failed
	})
	return err, failed
}

func (l *Log) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	var data []byte
	err := l.store.queryRow(ctx, sqlTile, pgx.StrictNamedArgs{
		"log": l.id, "level": level, "index": column.Bound(index),
	}, &data)
	if err != nil {
		return nil, fmt.Errorf("read tile %d of level %d of log %q: %w", index, level, l.info.Name, err)
	}
	return data, nil
}

// EachTile hands tiles on as EachChunk does chunks, without a copy.
func (l *Log) EachTile(ctx context.Context, level int, start, end uint64, f func(index uint64, data []byte) error) error {
	var failed error
	err := l.store.each(ctx, sqlTiles, pgx.StrictNamedArgs{
		"log": l.id, "level": level, "start": column.Bound(start), "end": column.Bound(end),
	}, func(row pgx.CollectableRow) error {
		var index uint64
		var data []byte
		if err := row.Scan(&index, (*pgtype.DriverBytes)(&data)); err != nil {
			return err
		}
		failed = f(index, data)
		return failed
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("read tiles %d to %d of level %d of log %q: %w", start, end, level, l.info.Name, err)
	}
	return nil
}

// TileRoots counts the rows it gets: tiles have no gaps below the head, so fewer than
// asked for means that the last of them are not full yet.
func (l *Log) TileRoots(ctx context.Context, level int, start, end uint64) ([]tree.Hash, error) {
	roots, err := collect(ctx, l.store, func(row pgx.CollectableRow) (tree.Hash, error) {
		var root []byte
		if err := row.Scan(&root); err != nil {
			return tree.Hash{}, err
		}
		return column.ToHash(root)
	}, sqlTileRoots, pgx.StrictNamedArgs{
		"log": l.id, "level": level, "start": column.Bound(start), "end": column.Bound(end),
	})
	if err == nil && start < end && uint64(len(roots)) != end-start {
		err = storage.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read roots of tiles %d to %d of level %d of log %q: %w",
			start, end, level, l.info.Name, err)
	}
	return roots, nil
}

// AddCheckpoint inserts one row. Its foreign keys refuse a number that does not follow
// the last one, and a size that no head has; the primary key lets one of those that
// race for a number have it.
func (l *Log) AddCheckpoint(ctx context.Context, c storage.Checkpoint) error {
	err := l.store.write(ctx, statementTimeout, sqlAddCheckpoint, pgx.StrictNamedArgs{
		"log": l.id, "number": c.Number, "size": c.Size, "note": c.Note, "published": c.Published,
	})
	if err != nil {
		return fmt.Errorf("store checkpoint %d, of size %d, of log %q: %w", c.Number, c.Size, l.info.Name, err)
	}
	return nil
}

func (l *Log) LastCheckpoint(ctx context.Context) (c storage.Checkpoint, err error) {
	err = l.store.queryRow(ctx, sqlLastCheckpoint, pgx.StrictNamedArgs{"log": l.id},
		&c.Number, &c.Size, &c.Note, &c.Published)
	if err != nil {
		return c, fmt.Errorf("read last checkpoint of log %q: %w", l.info.Name, err)
	}
	c.Published = c.Published.UTC() // pgx returns it in the local zone
	return c, nil
}

func (l *Log) Checkpoints(ctx context.Context, first uint64, limit int) ([]storage.Checkpoint, error) {
	checkpoints, err := collect(ctx, l.store, func(row pgx.CollectableRow) (c storage.Checkpoint, err error) {
		err = row.Scan(&c.Number, &c.Size, &c.Note, &c.Published)
		c.Published = c.Published.UTC()
		return c, err
	}, sqlCheckpoints, pgx.StrictNamedArgs{"log": l.id, "first": column.Bound(first), "limit": limit})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of log %q from %d on: %w", l.info.Name, first, err)
	}
	return checkpoints, nil
}
