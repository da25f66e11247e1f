package postgres

// This file is the cursors of followers, which are updated in place: they are derived.
// A move is one statement whose WHERE, or ON CONFLICT, compares with the position
// that the follower started from. Of two that race, PostgreSQL has the second wait for
// the first and compare again, so it changes no row and is stale.

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-log/stele/storage"
)

// cursors are those of one log's followers.
type cursors struct{ log *Log }

var _ storage.Cursors = cursors{}

// Cursors returns how far the log's followers have come.
func (l *Log) Cursors() storage.Cursors { return cursors{l} }

func (c cursors) Get(ctx context.Context, follower string) (storage.Position, error) {
	var at storage.Position
	err := c.log.store.queryRow(ctx, sqlCursor, pgx.StrictNamedArgs{"log": c.log.id, "follower": follower},
		&at.Version, &at.Next)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return at, fmt.Errorf("read cursor of %s in log %q: %w", follower, c.log.info.Name, err)
	}
	return at, nil
}

func (c cursors) Move(ctx context.Context, move storage.Move) error {
	return c.log.store.run(ctx, statementTimeout, func(st *statement) error { return c.log.move(st.ctx, st, move) })
}

// An executor is a transaction, or a connection for a statement by itself.
type executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// move moves a cursor, or fails with ErrStale. Within a transaction that error makes
// its caller roll back, so what a follower stores and where it stands stay in step. A
// move from the zero Position inserts the row: the follower has no cursor yet.
func (l *Log) move(ctx context.Context, db executor, m storage.Move) error {
	args := pgx.StrictNamedArgs{"log": l.id, "follower": m.Follower, "version": m.To.Version, "next": m.To.Next}
	query := sqlAddCursor
	if m.From != (storage.Position{}) {
		query = sqlMoveCursor
		args["from_version"], args["from_next"] = m.From.Version, m.From.Next
	}
	tag, err := db.Exec(ctx, query, args)
	if err == nil && tag.RowsAffected() == 0 {
		err = storage.ErrStale
	}
	if err != nil {
		return fmt.Errorf("move cursor of %s in log %q from entry %d to %d: %w",
			m.Follower, l.info.Name, m.From.Next, m.To.Next, err)
	}
	return nil
}
