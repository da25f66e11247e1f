package sqlite

// This file is the one connection that writes. SQLite lets one transaction write at a
// time, so more connections would only wait for each other within SQLite, by polling;
// here they queue in a channel, and a caller can leave the queue when its context ends.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/stele-log/stele/storage"
)

// A writer is the one connection that writes, and what was prepared on it. The
// connection is kept for as long as the Store, as statements belong to a connection and
// compiling one takes longer than running it.
type writer struct {
	db       *sql.DB
	conn     *sql.Conn
	prepared map[string]*sql.Stmt // by query; used by the holder of the token
	busy     chan struct{}        // holds a token while somebody writes
}

var errClosed = fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)

func newWriter(ctx context.Context, path string) (*writer, error) {
	db, err := connect(path, "", 2) // the writer, and one to ask for the version
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	return &writer{db: db, conn: conn, prepared: map[string]*sql.Stmt{}, busy: make(chan struct{}, 1)}, nil
}

// write runs f in a transaction. The context can end the wait for other
// writers, but nothing after it: an interrupted COMMIT would leave its outcome unknown.
//
// BEGIN IMMEDIATE takes SQLite's write lock at once. A transaction that began by
// reading could find the database changed by another process when it first writes,
// and would have to be run again.
func (w *writer) write(ctx context.Context, f func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.busy <- struct{}{}:
		defer func() { <-w.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx := tx{w}
	if err := tx.exec("BEGIN IMMEDIATE"); err != nil {
		return sentinel(err)
	}
	err := f(tx)
	if err == nil {
		err = tx.exec("COMMIT")
	}
	if err != nil {
		tx.exec("ROLLBACK") // fails only if SQLite has rolled back by itself
	}
	return sentinel(err)
}

// close waits for the write under way.
func (w *writer) close() error {
	w.busy <- struct{}{}
	defer func() { <-w.busy }()
	// While a statement is open the connection stays, and with it the
	// write-ahead log.
	var errs []error
	for _, stmt := range w.prepared {
		errs = append(errs, stmt.Close())
	}
	w.prepared = nil
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// A tx is a transaction that is under way, of the one who holds the token. Its statements
// run without a context, since write has promised not to be interrupted.
type tx struct{ w *writer }

// prepare returns the statement of a query, which is prepared once. It fails once the
// writer is closed.
func (t tx) prepare(query string) (*sql.Stmt, error) {
	if stmt, ok := t.w.prepared[query]; ok {
		return stmt, nil
	}
	if t.w.prepared == nil {
		return nil, errClosed
	}
	stmt, err := t.w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.w.prepared[query] = stmt
	return stmt, nil
}

// exec runs a statement.
func (t tx) exec(query string, args ...any) error {
	stmt, err := t.prepare(query)
	if err != nil {
		return err
	}
	_, err = stmt.Exec(args...)
	return err
}

// row runs a query for one row.
func (t tx) row(query string, args ...any) row {
	stmt, err := t.prepare(query)
	if err != nil {
		return failed{err}
	}
	return stmt.QueryRow(args...)
}
