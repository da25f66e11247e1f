package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/column"
)

// A Log is one log in a Store.
type Log struct {
	store *Store
	id    int32
	info  storage.Info
}

var _ storage.Log = (*Log)(nil)

// Info implements storage.Log.
func (l *Log) Info() storage.Info { return l.info }

// Head implements storage.Log.
func (l *Log) Head(ctx context.Context) (tree.Head, error) {
	var head tree.Head
	var root []byte
	err := l.store.pool.QueryRow(ctx, sqlHead, pgx.StrictNamedArgs{"log": l.id}).Scan(&head.Size, &root)
	if err == nil {
		head.Root, err = column.ToHash(root)
	}
	if err != nil {
		return tree.Head{}, fmt.Errorf("read head of log %q: %w", l.info.Name, sentinel(err))
	}
	return head, nil
}

// Commit implements storage.Log.
func (l *Log) Commit(ctx context.Context, batch storage.Batch) error {
	if _, err := l.store.pool.Exec(ctx, sqlCommit, l.commitArgs(batch)); err != nil {
		return fmt.Errorf("commit entries %d to %d of log %q: %w",
			batch.Base, batch.Head.Size, l.info.Name, sentinel(err))
	}
	return nil
}

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
		"log": l.id, "size": batch.Head.Size, "base": batch.Base, "root": batch.Head.Root[:], "epoch": batch.Epoch,
		"starts": starts, "counts": counts, "chunks": chunks,
		"levels": levels, "indexes": indexes, "roots": roots, "tiles": tiles,
	}
}

// EachChunk implements storage.Log.
func (l *Log) EachChunk(ctx context.Context, start, end uint64, f func(storage.Chunk) error) error {
	rows, _ := l.store.pool.Query(ctx, sqlChunks, pgx.StrictNamedArgs{
		"log": l.id, "start": column.Bound(start), "end": column.Bound(end),
	})
	defer rows.Close()
	for rows.Next() {
		var c storage.Chunk
		if err := rows.Scan(&c.Start, &c.Count, (*pgtype.DriverBytes)(&c.Data)); err != nil {
			break // rows.Err has it
		}
		if err := f(c); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read entries %d to %d of log %q: %w", start, end, l.info.Name, err)
	}
	return nil
}

// Tile implements storage.Log.
func (l *Log) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	var data []byte
	err := l.store.pool.QueryRow(ctx, sqlTile, pgx.StrictNamedArgs{
		"log": l.id, "level": level, "index": column.Bound(index),
	}).Scan(&data)
	if err != nil {
		return nil, fmt.Errorf("read tile %d of level %d of log %q: %w", index, level, l.info.Name, sentinel(err))
	}
	return data, nil
}

// EachTile implements storage.Log.
func (l *Log) EachTile(ctx context.Context, level int, start, end uint64, f func(index uint64, data []byte) error) error {
	rows, _ := l.store.pool.Query(ctx, sqlTiles, pgx.StrictNamedArgs{
		"log": l.id, "level": level, "start": column.Bound(start), "end": column.Bound(end),
	})
	defer rows.Close()
	for rows.Next() {
		var index uint64
		var data []byte
		if err := rows.Scan(&index, (*pgtype.DriverBytes)(&data)); err != nil {
			break // rows.Err has it
		}
		if err := f(index, data); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read tiles %d to %d of level %d of log %q: %w", start, end, level, l.info.Name, err)
	}
	return nil
}

// TileRoots implements storage.Log.
func (l *Log) TileRoots(ctx context.Context, level int, start, end uint64) ([]tree.Hash, error) {
	rows, _ := l.store.pool.Query(ctx, sqlTileRoots, pgx.StrictNamedArgs{
		"log": l.id, "level": level, "start": column.Bound(start), "end": column.Bound(end),
	})
	roots, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (tree.Hash, error) {
		var root []byte
		if err := row.Scan(&root); err != nil {
			return tree.Hash{}, err
		}
		return column.ToHash(root)
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

// AddCheckpoint implements storage.Log.
func (l *Log) AddCheckpoint(ctx context.Context, c storage.Checkpoint) error {
	_, err := l.store.pool.Exec(ctx, sqlAddCheckpoint, pgx.StrictNamedArgs{
		"log": l.id, "number": c.Number, "size": c.Size, "note": c.Note, "published": c.Published,
	})
	if err != nil {
		return fmt.Errorf("store checkpoint %d, of size %d, of log %q: %w", c.Number, c.Size, l.info.Name, sentinel(err))
	}
	return nil
}

// LastCheckpoint implements storage.Log.
func (l *Log) LastCheckpoint(ctx context.Context) (storage.Checkpoint, error) {
	rows, _ := l.store.pool.Query(ctx, sqlLastCheckpoint, pgx.StrictNamedArgs{"log": l.id})
	c, err := pgx.CollectExactlyOneRow(rows, scanCheckpoint)
	if err != nil {
		return c, fmt.Errorf("read last checkpoint of log %q: %w", l.info.Name, sentinel(err))
	}
	return c, nil
}

// Checkpoints implements storage.Log.
func (l *Log) Checkpoints(ctx context.Context, first uint64, limit int) ([]storage.Checkpoint, error) {
	rows, _ := l.store.pool.Query(ctx, sqlCheckpoints, pgx.StrictNamedArgs{
		"log": l.id, "first": column.Bound(first), "limit": limit,
	})
	checkpoints, err := pgx.CollectRows(rows, scanCheckpoint)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of log %q from %d on: %w", l.info.Name, first, err)
	}
	return checkpoints, nil
}

func scanCheckpoint(row pgx.CollectableRow) (c storage.Checkpoint, err error) {
	err = row.Scan(&c.Number, &c.Size, &c.Note, &c.Published)
	c.Published = c.Published.UTC()
	return c, err
}
