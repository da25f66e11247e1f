package migrations

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrShared means that another client can have the session between two statements.
var ErrShared = errors.New("clients share sessions here, as behind a pooler in transaction mode: " +
	"give the address of the database itself, or of a pooler in session mode")

// CheckSession returns ErrShared unless the connection has a session to itself: what it
// sets there, and its locks, would otherwise be other clients'. A second connection tries
// to get the session, which a pooler in transaction mode gives to whoever comes next.
func CheckSession(ctx context.Context, conn *pgx.Conn) error {
	mine, err := process(ctx, conn)
	if err != nil {
		return err
	}
	other, err := pgx.ConnectConfig(ctx, conn.Config())
	if err != nil {
		return err
	}
	defer other.Close(context.WithoutCancel(ctx))
	tx, err := other.Begin(ctx)
	if err != nil {
		return err
	}
	theirs, err := process(ctx, tx.Conn())
	if err != nil {
		return err
	}
	still, err := process(ctx, conn)
	if err != nil {
		return err
	}
	if mine == theirs || mine != still {
		return ErrShared
	}
	return nil
}

// process returns the number of the database's process that has run the statement.
func process(ctx context.Context, conn *pgx.Conn) (number int, err error) {
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&number)
	return number, err
}
