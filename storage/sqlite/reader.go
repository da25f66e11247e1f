package sqlite

// This file is the connections that read. With a write-ahead log, readers neither wait
// for the writer nor delay it. Each query is its own transaction; a caller that needs
// several to agree relies on rows never changing, not on a snapshot.

import (
	"context"
	"database/sql"
	"runtime"
	"sync"
)

// A row is what a query yields: *sql.Row or *sql.Rows.
type row interface{ Scan(dest ...any) error }

// arg is the argument that a query calls @name.
func arg(name string, value any) any { return sql.Named(name, value) }

// A reader is the connections that read, and what was prepared on them. Each
// query sees the database as of one moment.
type reader struct {
	db *sql.DB

	mu       sync.RWMutex
	prepared map[string]*sql.Stmt // by query
}

// newReader opens up to one connection a processor, as queries are computed in this
// process, and never fewer than four. They cannot write (query_only).
func newReader(path string) (*reader, error) {
	db, err := connect(path, "_query_only=1", max(4, runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, err
	}
	return &reader{db: db, prepared: map[string]*sql.Stmt{}}, nil
}

// prepare returns the statement of a query, which database/sql prepares once for each
// connection that comes to run it. The lock is shared once a statement is known.
func (r *reader) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.RLock()
	stmt, ok := r.prepared[query]
	r.mu.RUnlock()
	if ok {
		return stmt, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if stmt, ok := r.prepared[query]; ok {
		return stmt, nil
	}
	if r.prepared == nil {
		return nil, errClosed
	}
	stmt, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	r.prepared[query] = stmt
	return stmt, nil
}

// row runs a query for one row. An error is returned by the row's Scan, as by that of
// [sql.Row], so callers handle errors in one place. It is storage.ErrNotFound if there is
// no row.
func (r *reader) row(ctx context.Context, query string, args ...any) row {
	stmt, err := r.prepare(ctx, query)
	if err != nil {
		return failed{sentinel(err)}
	}
	return asked{stmt.QueryRowContext(ctx, args...)}
}

// each calls f with each row of a query, on a connection that is kept until the last.
// An error of f ends it and is returned as it is.
func (r *reader) each(ctx context.Context, f func(row) error, query string, args ...any) error {
	stmt, err := r.prepare(ctx, query)
	if err != nil {
		return sentinel(err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return sentinel(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return sentinel(rows.Err())
}

// collect returns what scan makes of each row of a query.
func collect[T any](ctx context.Context, r *reader, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	var all []T
	err := r.each(ctx, func(row row) error {
		one, err := scan(row)
		all = append(all, one)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// close waits for the queries under way.
func (r *reader) close() error {
	r.mu.Lock()
	r.prepared = nil
	r.mu.Unlock()
	return r.db.Close()
}

// asked is the row of a query. Its error is translated into what it means to callers.
type asked struct{ row *sql.Row }

func (a asked) Scan(dest ...any) error { return sentinel(a.row.Scan(dest...)) }

// failed is the row of a query that could not be run.
type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }
