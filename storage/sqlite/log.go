package sqlite

// This file is the log itself. Writes go through the writer, one transaction at a time;
// reads go through the reader, beside the write that is under way, and see what was
// committed last. The schema's triggers carry the invariants, as there is no role
// without rights: see migrations/sqlite/0001_core.sql.

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/column"
)

// A Log is one log in a Store. Its number is what the tables know it by, and means
// nothing outside the file.
type Log struct {
	store *Store
	id    int64
	info  storage.Info
}

var _ storage.Log = (*Log)(nil)

func (l *Log) Info() storage.Info { return l.info }

func (l *Log) Head(ctx context.Context) (storage.CommittedHead, error) {
	head, err := scanHead(l.store.reader.row(ctx, sqlHead, arg("log", l.id)))
	if err != nil {
		return storage.CommittedHead{}, fmt.Errorf("read head of log %q: %w", l.info.Name, err)
	}
	return head, nil
}

func (l *Log) Heads(ctx context.Context, first uint64, limit int) ([]storage.CommittedHead, error) {
	heads, err := collect(ctx, l.store.reader, scanHead, sqlHeads,
		arg("log", l.id), arg("first", column.Bound(first)), arg("limit", limit))
	if err != nil {
		return nil, fmt.Errorf("read heads of log %q from size %d on: %w", l.info.Name, first, err)
	}
	return heads, nil
}

func scanHead(row row) (h storage.CommittedHead, err error) {
	var root []byte
	if err := row.Scan(&h.Size, &root, &h.Base, &h.Epoch, &h.MAC); err != nil {
		return h, err
	}
	h.Root, err = column.ToHash(root)
	return h, err
}

// Commit stores a batch in one transaction. A crash before its end leaves frames in the
// write-ahead log that SQLite ignores when the file is opened again. The outcome is
// known: unless Commit returns nil, or the disk has failed, nothing was stored.
//
// The head goes in after its chunks. Each chunk must start where the last one ends (the
// trigger chunks_insert), so that the head's own trigger finds gaps by comparing one
// number. Tiles go in after the head, below which they must be full.
// A row a statement costs no round trip here, unlike in PostgreSQL.
func (l *Log) Commit(ctx context.Context, batch storage.Batch) error {
	err := l.store.writer.write(ctx, func(tx tx) error {
		if err := l.checkNewest(tx, batch); err != nil {
			return err
		}
		for _, c := range batch.Chunks {
			err := tx.exec(sqlAddChunk, arg("log", l.id), arg("start", c.Start), arg("count", c.Count), arg("data", c.Data))
			if err != nil {
				return err
			}
		}
		err := tx.exec(sqlAddHead, arg("log", l.id), arg("size", batch.Head.Size), arg("base", batch.Base),
			arg("root", batch.Head.Root[:]), arg("epoch", batch.Epoch), arg("now", time.Now().UnixMicro()), arg("mac", batch.MAC))
		if err != nil {
			return err
		}
		for _, t := range batch.Tiles {
			err := tx.exec(sqlAddTile, arg("log", l.id), arg("level", t.Tile.Level), arg("index", t.Tile.Index),
				arg("root", t.Root[:]), arg("data", t.Data))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit entries %d to %d of log %q: %w", batch.Base, batch.Head.Size, l.info.Name, err)
	}
	return nil
}

// checkNewest refuses a batch before anything of it is written; the triggers
// would refuse it as well, but the chunks first, and not for the true reason.
func (l *Log) checkNewest(tx tx, batch storage.Batch) error {
	var size, epoch uint64
	if err := tx.row(sqlNewest, arg("log", l.id)).Scan(&size, &epoch); err != nil {
		return err
	}
	switch {
	case batch.Epoch != epoch:
		return storage.ErrFenced
	case batch.Base != size:
		return storage.ErrStale
	}
	return nil
}

// EachChunk hands each chunk on in SQLite's own memory (RawBytes), which the next row
// overwrites. An error of f is kept apart from those of the database, as it is returned
// without their context.
func (l *Log) EachChunk(ctx context.Context, start, end uint64, f func(storage.Chunk) error) error {
	err, failed := l.eachChunk(ctx, f, sqlChunks,
		arg("log", l.id), arg("start", column.Bound(start)), arg("end", column.Bound(end)))
	if err != nil {
		return fmt.Errorf("read entries %d to %d of log %q: %w", start, end, l.info.Name, err)
	}
	return failed
}

func (l *Log) EachChunkOf(ctx context.Context, bundles []uint64, f func(storage.Chunk) error) error {
	list := []byte{'['}
	for i, bundle := range bundles {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendUint(list, bundle, 10)
	}
	err, failed := l.eachChunk(ctx, f, sqlChunksOf, arg("log", l.id), arg("bundles", string(append(list, ']'))))
	if err != nil {
		return fmt.Errorf("read %d bundles of log %q: %w", len(bundles), l.info.Name, err)
	}
	return failed
}

// eachChunk calls f with the chunks that a query yields, and returns the database's
// error and that of f.
func (l *Log) eachChunk(ctx context.Context, f func(storage.Chunk) error, query string, args ...any) (err, failed error) {
	err = l.store.reader.each(ctx, func(row row) error {
		var c storage.Chunk
		if err := row.Scan(&c.Start, &c.Count, (*sql.RawBytes)(&c.Data)); err != nil {
			return err
		}
		failed = f(c)
		return failed
	}, query, args...)
	if failed != nil {
		return nil, failed
	}
	return err, nil
}

func (l *Log) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	var data []byte
	err := l.store.reader.row(ctx, sqlTile, arg("log", l.id), arg("level", level), arg("index", column.Bound(index))).Scan(&data)
	if err != nil {
		return nil, fmt.Errorf("read tile %d of level %d of log %q: %w", index, level, l.info.Name, err)
	}
	return data, nil
}

// EachTile hands tiles on as EachChunk does chunks, without a copy.
func (l *Log) EachTile(ctx context.Context, level int, start, end uint64, f func(index uint64, data []byte) error) error {
	var failed error
	err := l.store.reader.each(ctx, func(row row) error {
		var index uint64
		var data sql.RawBytes
		if err := row.Scan(&index, &data); err != nil {
			return err
		}
		failed = f(index, data)
		return failed
	}, sqlTiles, arg("log", l.id), arg("level", level), arg("start", column.Bound(start)), arg("end", column.Bound(end)))
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
	roots, err := collect(ctx, l.store.reader, func(row row) (tree.Hash, error) {
		var root []byte
		if err := row.Scan(&root); err != nil {
			return tree.Hash{}, err
		}
		return column.ToHash(root)
	}, sqlTileRoots, arg("log", l.id), arg("level", level), arg("start", column.Bound(start)), arg("end", column.Bound(end)))
	if err == nil && start < end && uint64(len(roots)) != end-start {
		err = storage.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read roots of tiles %d to %d of level %d of log %q: %w",
			start, end, level, l.info.Name, err)
	}
	return roots, nil
}

// AddCheckpoint inserts one row. The trigger checkpoints_insert refuses a number that
// does not follow the last one, and a size that no head has.
func (l *Log) AddCheckpoint(ctx context.Context, c storage.Checkpoint) error {
	err := l.store.writer.write(ctx, func(tx tx) error {
		return tx.exec(sqlAddCheckpoint, arg("log", l.id), arg("number", c.Number), arg("size", c.Size),
			arg("note", c.Note), arg("published", c.Published.UnixMicro()))
	})
	if err != nil {
		return fmt.Errorf("store checkpoint %d, of size %d, of log %q: %w", c.Number, c.Size, l.info.Name, err)
	}
	return nil
}

func (l *Log) LastCheckpoint(ctx context.Context) (storage.Checkpoint, error) {
	c, err := scanCheckpoint(l.store.reader.row(ctx, sqlLastCheckpoint, arg("log", l.id)))
	if err != nil {
		return c, fmt.Errorf("read last checkpoint of log %q: %w", l.info.Name, err)
	}
	return c, nil
}

func (l *Log) Checkpoints(ctx context.Context, first uint64, limit int) ([]storage.Checkpoint, error) {
	checkpoints, err := collect(ctx, l.store.reader, scanCheckpoint, sqlCheckpoints,
		arg("log", l.id), arg("first", column.Bound(first)), arg("limit", limit))
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of log %q from %d on: %w", l.info.Name, first, err)
	}
	return checkpoints, nil
}

// scanCheckpoint reads a checkpoint, whose time is stored as microseconds since 1970.
func scanCheckpoint(row row) (c storage.Checkpoint, err error) {
	var published int64
	err = row.Scan(&c.Number, &c.Size, &c.Note, &published)
	c.Published = time.UnixMicro(published).UTC()
	return c, err
}
