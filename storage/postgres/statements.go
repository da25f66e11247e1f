package postgres

// This file runs statements: each on a connection of its lane, within a time, and with
// its error translated into what it means to callers.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/storage"
)

// How long a statement may take, from waiting for a connection to the reply; one that
// yields or takes many rows, until the next row. Then its connection is given up. A
// commit gets longer, as its outcome is unknown if it is given up.
const (
	pingTimeout      = 5 * time.Second
	statementTimeout = 30 * time.Second
	commitTimeout    = time.Minute
	vacuumTimeout    = 10 * time.Minute
)

// A statement is one that is under way, on a connection that it has to itself.
type statement struct {
	*pgxpool.Conn
	ctx     context.Context // ends when the statement has taken too long
	timeout time.Duration
	timer   *time.Timer
}

// progress gives the statement its whole time again.
func (s *statement) progress() { s.timer.Reset(s.timeout) }

// pause stops the clock until progress: the caller is at work, not the database.
func (s *statement) pause() { s.timer.Stop() }

// run runs f, with the statement's own context, on a connection of the caller's lane.
func (s *Store) run(ctx context.Context, timeout time.Duration, f func(*statement) error) error {
	for {
		conns, err := s.current()
		if err != nil {
			return err
		}
		sent, err := conns.run(ctx, timeout, f)
		if now, _ := s.current(); err == nil || sent || ctx.Err() != nil || now == conns {
			return err
		}
		// The connections were replaced while the statement waited for one.
	}
}

// run is Store.run on these connections. It reports whether there was one.
func (c *conns) run(ctx context.Context, timeout time.Duration, f func(*statement) error) (sent bool, err error) {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.alive, func() { cancel(context.Cause(c.alive)) })()
	timer := time.AfterFunc(timeout, func() {
		cancel(fmt.Errorf("%w: no answer within %v", storage.ErrUnavailable, timeout))
	})
	defer timer.Stop()

	conn, err := c.lanes[storage.LaneOf(ctx)].Acquire(limited)
	if err != nil {
		return false, meaning(ctx, limited, err, isNetwork(err))
	}
	defer conn.Release()
	err = f(&statement{conn, limited, timeout, timer})
	return true, meaning(ctx, limited, err, conn.Conn().IsClosed())
}

// meaning returns what an error of a statement means. If the connection could not be
// had, or has ended, the database is away, or has taken longer than the statement's
// context allows, unless it was the caller who gave up.
func meaning(caller, limited context.Context, err error, disconnected bool) error {
	switch {
	case err == nil || !disconnected || caller.Err() != nil:
		return sentinel(err)
	case limited.Err() != nil:
		return context.Cause(limited)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
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
	return s.run(ctx, statementTimeout, func(st *statement) error {
		return st.QueryRow(st.ctx, query, args).Scan(dest...)
	})
}

// each calls f with each row of a query, on a connection that is kept until the last.
// An error of f ends it and is returned as it is.
func (s *Store) each(ctx context.Context, query string, args pgx.StrictNamedArgs, f func(pgx.CollectableRow) error) error {
	var failed error
	err := s.run(ctx, statementTimeout, func(st *statement) error {
		rows, err := st.Query(st.ctx, query, args)
		if err != nil {
			return err
		}
		defer rows.Close()
		for failed == nil && rows.Next() {
			st.pause()
			failed = f(rows)
			st.progress()
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

// exec runs a statement that need not be durable.
func (s *Store) exec(ctx context.Context, query string, args pgx.StrictNamedArgs) error {
	return s.run(ctx, statementTimeout, func(st *statement) error {
		_, err := st.Exec(st.ctx, query, args)
		return err
	})
}

// vacuum runs a VACUUM.
func (s *Store) vacuum(ctx context.Context, query string) error {
	return s.run(ctx, vacuumTimeout, func(st *statement) error {
		_, err := st.Exec(st.ctx, query)
		return err
	})
}

// write runs a statement that must be durable once it has returned, see durably.
func (s *Store) write(ctx context.Context, timeout time.Duration, query string, args pgx.StrictNamedArgs, dest ...any) error {
	return s.run(ctx, timeout, func(st *statement) error {
		return durably(st.ctx, st.Conn.Conn(), query, args, dest...)
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

// transact runs f in a transaction. Each statement in it has the whole time if f calls
// progress before.
func (s *Store) transact(ctx context.Context, f func(*statement, pgx.Tx) error) error {
	return s.run(ctx, statementTimeout, func(st *statement) error {
		return pgx.BeginFunc(st.ctx, st, func(tx pgx.Tx) error {
			defer st.progress()
			return f(st, tx)
		})
	})
}

// The errors that the driver tells from others, as SQLSTATE (PostgreSQL's manual,
// appendix A).
const (
	codeForeignKey = "23503"
	codeUnique     = "23505"
	codeCheck      = "23514"
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
	case [2]string{codeUnique, "epochs_pkey"}: // another server was quicker
		return storage.ErrLeased
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
