package sqlite

// This file is the cursors of followers, which are updated in place: they are derived.
// A move compares with the position that the follower started from. Transactions write
// one after the other, so the comparison is with the newest position.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/stele-log/stele/storage"
)

// cursors are those of one log's followers.
type cursors struct{ log *Log }

var _ storage.Cursors = cursors{}

// Cursors returns how far the log's followers have come.
func (l *Log) Cursors() storage.Cursors { return cursors{l} }

func (c cursors) Get(ctx context.Context, follower string) (at storage.Position, err error) {
	err = c.log.store.reader.row(ctx, sqlCursor, arg("log", c.log.id), arg("follower", follower)).Scan(&at.Version, &at.Next)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return at, fmt.Errorf("read cursor of %s in log %q: %w", follower, c.log.info.Name, err)
	}
	return at, nil
}

func (c cursors) Move(ctx context.Context, move storage.Move) error {
	return c.log.store.writer.write(ctx, func(tx tx) error { return c.log.move(tx, move) })
}

// move moves a cursor, or fails with ErrStale, which rolls the transaction back with
// all that the follower has stored in it. Both statements return a row only if they have
// changed one. A move from the zero Position inserts: there is no cursor yet.
func (l *Log) move(tx tx, m storage.Move) error {
	args := []any{arg("log", l.id), arg("follower", m.Follower), arg("version", m.To.Version), arg("next", m.To.Next)}
	query := sqlAddCursor
	if m.From != (storage.Position{}) {
		query = sqlMoveCursor
		args = append(args, arg("from_version", m.From.Version), arg("from_next", m.From.Next))
	}
	var moved int
	err := tx.row(query, args...).Scan(&moved)
	if errors.Is(err, sql.ErrNoRows) {
		err = storage.ErrStale
	}
	if err != nil {
		return fmt.Errorf("move cursor of %s in log %q from entry %d to %d: %w",
			m.Follower, l.info.Name, m.From.Next, m.To.Next, err)
	}
	return nil
}
