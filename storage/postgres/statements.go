package postgres

// This file runs statements: each on a connection of the pool, with its error
// translated into what it means to callers.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/storage"
)

// run runs f on a connection of the pool.
func (s *Store) run(ctx context.Context, f func(*pgxpool.Conn) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		if s.closed() {
			return errClosed
		}
		return meaning(ctx, err, isNetwork(err))
	}
	defer conn.Release()
	err = f(conn)
	return meaning(ctx, err, conn.Conn().IsClosed())
}

// meaning returns what an error of a statement means. If the connection could not be
// had, or has ended, the database is away, unless the caller has given up.
func meaning(ctx context.Context, err error, disconnected bool) error {
	if err != nil && disconnected && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return sentinel(err)
}

// isNetwork reports whether an error comes from connecting, and not from what the
// database has answered.
func isNetwork(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

// queryRow runs a query for one row and scans it into dest. The error is
// storage.ErrNotFound if there is none.
func (s *Store) queryRow(ctx context.Context, query string, args pgx.StrictNamedArgs, dest ...any) error {
	return s.run(ctx, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, query, args).Scan(dest...)
	})
}

// each calls f with each row of a query, on a connection that is kept until the last.
// An error of f ends it and is returned as it is.
func (s *Store) each(ctx context.Context, query string, args pgx.StrictNamedArgs, f func(pgx.CollectableRow) error) error {
	var failed error
	err := s.run(ctx, func(conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, query, args)
		if err != nil {
			return err
		}
		defer rows.Close()
		for failed == nil && rows.Next() {
			failed = f(rows)
		}
		rows.Close()
		return rows.Err()
	})
	if failed != nil {
		return failed
	}
	return err
}

// collect returns what scan makes of each row of a query.
func collect[T any](ctx context.Context, s *Store, scan func(pgx.CollectableRow) (T, error),
	query string, args pgx.StrictNamedArgs) ([]T, error) {
	var all []T
	err := s.each(ctx, query, args, func(row pgx.CollectableRow) error {
		one, err := scan(row)
		all = append(all, one)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// exec runs a statement by itself.
func (s *Store) exec(ctx context.Context, statement string) error {
	return s.run(ctx, func(conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

// write runs a statement that must be durable once it has returned, see durably.
func (s *Store) write(ctx context.Context, statement string, args pgx.StrictNamedArgs, dest ...any) error {
	return s.run(ctx, func(conn *pgxpool.Conn) error {
		return durably(ctx, conn.Conn(), statement, args, dest...)
	})
}

// durably runs a statement that has sqlDurable in it, and scans the row that it returns
// into dest, if it returns one.
//
// A WARNING makes it fail, with its outcome unknown: that is all that PostgreSQL says
// when a commit that waits for a synchronous standby is cancelled, by an operator or by
// a shutdown. The standby may then never have it.
func durably(ctx context.Context, conn *pgx.Conn, statement string, args pgx.StrictNamedArgs, dest ...any) (err error) {
	notes := conn.PgConn().CustomData()
	delete(notes, warning)
	if len(dest) == 0 {
		_, err = conn.Exec(ctx, statement, args)
	} else {
		err = conn.QueryRow(ctx, statement, args).Scan(dest...)
	}
	if text, ok := notes[warning]; ok && err == nil {
		err = fmt.Errorf("the outcome is unknown, as the database warned: %v", text)
	}
	return err
}

// warning is where a connection's custom data has the text of the last WARNING.
const warning = "stele: warning"

// noteWarning keeps a WARNING for durably to find. It is called while the statement that
// caused it is under way.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warning] = n.Message
	}
}

// transact runs f in a transaction.
func (s *Store) transact(ctx context.Context, f func(pgx.Tx) error) error {
	return s.run(ctx, func(conn *pgxpool.Conn) error { return pgx.BeginFunc(ctx, conn, f) })
}

// The errors that the driver tells from others, as SQLSTATE (PostgreSQL's manual,
// appendix A).
const (
	codeForeignKey = "23503"
	codeUnique     = "23505"
	codeCheck      = "23514"
	codeNoSuchRole = "22023" // invalid_parameter_value, from SET ROLE
	codeDenied     = "42501"
	codeNoSchema   = "3F000"
	codeNoTable    = "42P01"

	codeReadOnly  = "25006" // a standby, which was the primary when the connection was made
	codeCancelled = "57014" // by an operator, or by a statement_timeout of the server's
	classResource = "53"    // no disk, memory or connection left
	classStopping = "57P"   // stopped, crashed, or starting
)

// code returns the SQLSTATE of an error from the server, or "".
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// sentinel returns the error of package storage that err stands for, or err. It goes by
// the names of constraints, which migrations/postgres chooses (its triggers raise
// check_violation with a name, too): a constraint that is renamed there must be
// renamed here. Other errors are returned as they are.
func sentinel(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.ErrNotFound
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch [2]string{pg.Code, pg.ConstraintName} {
	case [2]string{codeUnique, "logs_name_key"},
		[2]string{codeUnique, "logs_origin_key"}:
		return storage.ErrExists
	case [2]string{codeCheck, "heads_base_newest"},
		[2]string{codeUnique, "heads_base_key"}, // another commit was quicker
		[2]string{codeUnique, "checkpoints_pkey"},
		[2]string{codeForeignKey, "checkpoints_previous_fkey"}:
		return storage.ErrStale
	case [2]string{codeCheck, "heads_epoch_newest"}:
		return storage.ErrFenced
	case [2]string{codeForeignKey, "checkpoints_size_fkey"}:
		return storage.ErrNotFound
	}
	if pg.Code == codeReadOnly || pg.Code == codeCancelled ||
		strings.HasPrefix(pg.Code, classResource) || strings.HasPrefix(pg.Code, classStopping) {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return err
}
