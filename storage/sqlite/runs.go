package sqlite

// This file is the key indexes: runs, in key_runs, their pages, in key_pages, and what
// their keys are hashed with, in key_secrets. The first two are the only tables from
// which the driver deletes. A run is never changed: a larger one takes the place of
// several in one transaction, and a reader that still asks for one of those finds
// nothing and lists the runs again.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/column"
)

// runs are the key indexes of one log.
type runs struct{ log *Log }

var _ storage.Runs = runs{}

// Runs returns the log's key indexes.
func (l *Log) Runs() storage.Runs { return runs{l} }

// Secret looks again once it can write, as there may be a secret by then.
func (r runs) Secret(ctx context.Context, kind string, proposed storage.Secret) (storage.Secret, error) {
	id, name := arg("log", r.log.id), arg("kind", kind)
	var secret []byte
	err := r.log.store.reader.row(ctx, sqlSecret, id, name).Scan(&secret)
	if errors.Is(err, storage.ErrNotFound) {
		err = r.log.store.writer.write(ctx, func(tx tx) error {
			err := tx.row(sqlSecret, id, name).Scan(&secret)
			if !errors.Is(err, sql.ErrNoRows) && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			secret = proposed[:]
			if err := tx.exec(sqlAddSecret, id, name, arg("secret", secret)); err != nil {
				return err
			}
			return tx.exec(sqlDropRuns, id, name)
		})
	}
	if err != nil {
		return storage.Secret{}, fmt.Errorf("read secret of %s runs of log %q: %w", kind, r.log.info.Name, err)
	}
	return column.ToSecret(secret)
}

func (r runs) List(ctx context.Context, kind string) ([]storage.Run, error) {
	all, err := collect(ctx, r.log.store.reader, func(row row) (run storage.Run, err error) {
		err = row.Scan(&run.Kind, &run.Start, &run.End)
		return run, err
	}, sqlRuns, arg("log", r.log.id), arg("kind", kind))
	if err != nil {
		return nil, fmt.Errorf("read %s runs of log %q: %w", kind, r.log.info.Name, err)
	}
	return all, nil
}

func (r runs) Filter(ctx context.Context, run storage.Run) (filter []byte, err error) {
	err = r.log.store.reader.row(ctx, sqlRunFilter, arg("log", r.log.id), arg("kind", run.Kind),
		arg("start", column.Bound(run.Start)), arg("end", column.Bound(run.End))).Scan(&filter)
	if err != nil {
		return nil, fmt.Errorf("read filter of %s run of entries %d to %d of log %q: %w",
			run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	return filter, nil
}

// Replace stores a run in one transaction: the cursor, the runs that go (their pages
// go with them, by ON DELETE CASCADE), the run, its pages. The cursor is first, so a
// follower that is late fails before it writes. The writer is held while pages are
// made, so the sequence may read from the Store but must not write to it.
func (r runs) Replace(ctx context.Context, run storage.Run, pages iter.Seq[storage.Page], move *storage.Move) error {
	if run.Filter == nil {
		run.Filter = []byte{} // nil would be NULL
	}
	id, kind, start, end := arg("log", r.log.id), arg("kind", run.Kind), arg("start", run.Start), arg("end", run.End)
	err := r.log.store.writer.write(ctx, func(tx tx) error {
		if move != nil {
			if err := r.log.move(tx, *move); err != nil {
				return err
			}
		}
		if err := tx.exec(sqlRemoveRuns, id, kind, start, end); err != nil {
			return err
		}
		if err := tx.exec(sqlAddRun, id, kind, start, end, arg("filter", run.Filter)); err != nil {
			return err
		}
		for p := range pages {
			err := tx.exec(sqlAddPage, id, kind, start, arg("first", column.FromKey(p.First)), arg("data", p.Data))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store %s run of entries %d to %d of log %q: %w",
			run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	return nil
}

func (r runs) Drop(ctx context.Context, kind string, move storage.Move) error {
	err := r.log.store.writer.write(ctx, func(tx tx) error {
		if err := r.log.move(tx, move); err != nil {
			return err
		}
		return tx.exec(sqlDropRuns, arg("log", r.log.id), arg("kind", kind))
	})
	if err != nil {
		return fmt.Errorf("drop %s runs of log %q: %w", kind, r.log.info.Name, err)
	}
	return nil
}

// Pages looks all keys up in one query, which sees the run as of one moment. SQLite has
// no arrays, so the keys are sent as JSON. A run that is gone yields fewer rows than
// there are keys.
func (r runs) Pages(ctx context.Context, run storage.Run, keys []uint64) ([]storage.Page, error) {
	list := []byte{'['}
	for i, key := range keys {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, column.FromKey(key), 10)
	}
	list = append(list, ']')
	pages, err := collect(ctx, r.log.store.reader, func(row row) (storage.Page, error) {
		page, _, err := scanPage(row)
		return page, err
	}, sqlRunPages, arg("log", r.log.id), arg("kind", run.Kind), arg("start", column.Bound(run.Start)), arg("end", column.Bound(run.End)),
		arg("keys", string(list)))
	if err == nil && len(pages) != len(keys) {
		err = storage.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read pages of %s run of entries %d to %d of log %q: %w", run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	return pages, nil
}

func (r runs) EachPage(ctx context.Context, run storage.Run, f func(storage.Page) error) error {
	found := false
	err := r.log.store.reader.each(ctx, func(row row) error {
		found = true
		page, ok, err := scanPage(row)
		if err != nil || !ok {
			return err
		}
		return f(page)
	}, sqlAllPages, arg("log", r.log.id), arg("kind", run.Kind), arg("start", column.Bound(run.Start)), arg("end", column.Bound(run.End)))
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("read %s run of entries %d to %d of log %q: %w", run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	return nil
}

// scanPage reads a page, and false if the row stands for there being none.
func scanPage(row row) (page storage.Page, ok bool, err error) {
	var first *int64
	if err := row.Scan(&first, &page.Data); err != nil || first == nil {
		return storage.Page{}, false, err
	}
	page.First = column.ToKey(*first)
	return page, true, nil
}
