package postgres

// This file is the key indexes: runs, in key_runs, their pages, in key_pages, and what
// their keys are hashed with, in key_secrets. The first two are the only tables from
// which the driver deletes. A run is never changed: a larger one takes the place of
// several in one transaction, and a reader that still asks for one of those finds
// nothing and lists the runs again.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/column"
)

// runs are the key indexes of one log.
type runs struct{ log *Log }

var _ storage.Runs = runs{}

// Runs returns the log's key indexes.
func (l *Log) Runs() storage.Runs { return runs{l} }

// Secret only reads where it can. Of two servers that both insert, the second waits
// for the first, inserts nothing, and reads what the first has committed.
func (r runs) Secret(ctx context.Context, kind string, proposed storage.Secret) (storage.Secret, error) {
	args := pgx.StrictNamedArgs{"log": r.log.id, "kind": kind}
	var secret []byte
	err := r.log.store.queryRow(ctx, sqlSecret, args, &secret)
	if errors.Is(err, storage.ErrNotFound) {
		err = r.log.store.transact(ctx, func(st *statement, tx pgx.Tx) error {
			tag, err := tx.Exec(st.ctx, sqlAddSecret, pgx.StrictNamedArgs{"log": r.log.id, "kind": kind, "secret": proposed[:]})
			if err == nil && tag.RowsAffected() > 0 {
				_, err = tx.Exec(st.ctx, sqlDropRuns, args)
			}
			if err != nil {
				return err
			}
			return tx.QueryRow(st.ctx, sqlSecret, args).Scan(&secret)
		})
	}
	if err != nil {
		return storage.Secret{}, fmt.Errorf("read secret of %s runs of log %q: %w", kind, r.log.info.Name, err)
	}
	return column.ToSecret(secret)
}

func (r runs) List(ctx context.Context, kind string) ([]storage.Run, error) {
	all, err := collect(ctx, r.log.store, func(row pgx.CollectableRow) (run storage.Run, err error) {
		err = row.Scan(&run.Kind, &run.Start, &run.End)
		return run, err
	}, sqlRuns, pgx.StrictNamedArgs{"log": r.log.id, "kind": kind})
	if err != nil {
		return nil, fmt.Errorf("read %s runs of log %q: %w", kind, r.log.info.Name, err)
	}
	return all, nil
}

func (r runs) Filter(ctx context.Context, run storage.Run) (filter []byte, err error) {
	err = r.log.store.queryRow(ctx, sqlRunFilter, pgx.StrictNamedArgs{
		"log": r.log.id, "kind": run.Kind, "start": column.Bound(run.Start), "end": column.Bound(run.End),
	}, &filter)
	if err != nil {
		return nil, fmt.Errorf("read filter of %s run of entries %d to %d of log %q: %w",
			run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	return filter, nil
}

// Replace stores a run in one transaction: the cursor, the runs that go (their pages
// go with them, by ON DELETE CASCADE), the run, its pages. The cursor is first, so a
// follower that is late fails before it writes. Pages are streamed by COPY in binary,
// as a large run has thousands of them, and are never all in memory.
//
// VACUUM cannot run in a transaction and comes after it. If it fails, or the process
// ends before, the run is stored and only some space is not used again yet.
func (r runs) Replace(ctx context.Context, run storage.Run, pages iter.Seq[storage.Page], move *storage.Move) error {
	if run.Filter == nil {
		run.Filter = []byte{} // nil would be NULL
	}
	var removed int64
	err := r.log.store.transact(ctx, func(st *statement, tx pgx.Tx) error {
		if move != nil {
			if err := r.log.move(st.ctx, tx, *move); err != nil {
				return err
			}
		}
		span := pgx.StrictNamedArgs{"log": r.log.id, "kind": run.Kind, "start": run.Start, "end": run.End}
		tag, err := tx.Exec(st.ctx, sqlRemoveRuns, span)
		if err != nil {
			return err
		}
		removed = tag.RowsAffected()
		span["filter"] = run.Filter
		if _, err := tx.Exec(st.ctx, sqlAddRun, span); err != nil {
			return err
		}
		next, stop := iter.Pull(pages)
		defer stop()
		_, err = tx.CopyFrom(st.ctx,
			pgx.Identifier{"stele", "key_pages"},
			[]string{"log_id", "kind", "run_start", "first_key", "data"},
			pgx.CopyFromFunc(func() ([]any, error) {
				st.progress()
				page, ok := next()
				if !ok {
					return nil, nil
				}
				return []any{r.log.id, run.Kind, run.Start, column.FromKey(page.First), page.Data}, nil
			}))
		return err
	})
	if err != nil {
		return fmt.Errorf("store %s run of entries %d to %d of log %q: %w",
			run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	if removed > 0 {
		_ = r.log.store.vacuum(ctx, sqlVacuumRuns) // the run is stored; autovacuum comes by later
	}
	return nil
}

func (r runs) Drop(ctx context.Context, kind string, move storage.Move) error {
	err := r.log.store.transact(ctx, func(st *statement, tx pgx.Tx) error {
		if err := r.log.move(st.ctx, tx, move); err != nil {
			return err
		}
		_, err := tx.Exec(st.ctx, sqlDropRuns, pgx.StrictNamedArgs{"log": r.log.id, "kind": kind})
		return err
	})
	if err != nil {
		return fmt.Errorf("drop %s runs of log %q: %w", kind, r.log.info.Name, err)
	}
	return nil
}

// Pages looks all keys up in one statement, as round trips would cost more than the
// lookups. A run that is gone yields fewer rows than there are keys.
func (r runs) Pages(ctx context.Context, run storage.Run, keys []uint64) ([]storage.Page, error) {
	bigints := make([]int64, len(keys))
	for i, key := range keys {
		bigints[i] = column.FromKey(key)
	}
	pages, err := collect(ctx, r.log.store, func(row pgx.CollectableRow) (page storage.Page, err error) {
		page, _, err = scanPage(row)
		page.Data = bytes.Clone(page.Data)
		return page, err
	}, sqlRunPages, pgx.StrictNamedArgs{
		"log": r.log.id, "kind": run.Kind, "start": column.Bound(run.Start), "end": column.Bound(run.End), "keys": bigints,
	})
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
	err := r.log.store.each(ctx, sqlAllPages, pgx.StrictNamedArgs{
		"log": r.log.id, "kind": run.Kind, "start": column.Bound(run.Start), "end": column.Bound(run.End),
	}, func(row pgx.CollectableRow) error {
		found = true
		page, ok, err := scanPage(row)
		if err != nil || !ok {
			return err
		}
		return f(page)
	})
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("read %s run of entries %d to %d of log %q: %w", run.Kind, run.Start, run.End, r.log.info.Name, err)
	}
	return nil
}

// scanPage reads a page, which is good until the next row, and false if the row
// stands for there being none.
func scanPage(row pgx.CollectableRow) (page storage.Page, ok bool, err error) {
	var first *int64
	if err := row.Scan(&first, (*pgtype.DriverBytes)(&page.Data)); err != nil || first == nil {
		return storage.Page{}, false, err
	}
	page.First = column.ToKey(*first)
	return page, true, nil
}
