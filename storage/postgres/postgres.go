// Package postgres keeps logs in PostgreSQL 15 or newer. It is one of the two
// drivers of package storage, whose contract it keeps; the schema, with the
// reasons for it, is in migrations/postgres.
//
// What always holds:
//   - the driver works as the database's role for servers, which can read and insert
//     but, what is derived apart, neither update nor delete;
//   - a commit is one statement: one transaction, one round trip, durable when
//     it returns (synchronous_commit is on, whatever the server's default);
//   - the order of commits rests on constraints, not on locks; a lease rests on
//     a session's advisory lock, and is lost with that session;
//   - nothing is retried: a caller that does not know the outcome reads the head.
//
// The driver needs sessions of its own: between it and the database there can
// be no pooler that shares a session among clients.
//
// uint64 and bigint: pgx refuses to send what does not fit, and to read a
// negative number as unsigned, so each conversion is checked there. The keys of
// the key index are the exception, see [column.FromKey].
//
// A Store is safe for concurrent use.
package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A Store is a storage.Store in one PostgreSQL database.
type Store struct {
	pool *pgxpool.Pool

	mu     sync.Mutex
	leases map[*lease]struct{} // alive; nil once closed
}

var _ storage.Store = (*Store)(nil)

// Open connects to the database at url, a connection string as libpq and pgx
// know it. It fails, with what to do, unless the schema is the one this
// program was made for; see [Migrate].
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	config.AfterConnect = startSession
	config.ConnConfig.BuildFrontend = bufferedFrontend
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{pool: pool, leases: map[*lease]struct{}{}}
	if err := s.checkVersion(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database %s: %w", config.ConnConfig.Database, err)
	}
	return s, nil
}

// bufferedFrontend gives a connection a read buffer of 64 KiB. The database sends 8 KiB
// at a time, and sends ranges of chunks faster than they are hashed: reading as little
// would wake it for every 8 KiB.
func bufferedFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(bufio.NewReaderSize(r, 64<<10), w)
}

// startSession configures a new connection, of the pool or of a lease, before its
// first use. From SET ROLE on, the session has the rights of the server's role only,
// even if its user is a superuser. A user who may not take on the role is told what to
// do.
func startSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, sqlSession)
	if code(err) != codeDenied {
		return err
	}
	var role, user string
	if err := conn.QueryRow(ctx, sqlRole).Scan(&role, &user); err != nil {
		return err
	}
	return fmt.Errorf("user %s may not take on the role %s: "+
		"as a role that may create roles, or as the user who ran stele migrate, run: GRANT %[2]s TO %[1]s: %[3]w", user, role, err)
}

// checkVersion fails unless the schema is the one this program was made for. A database
// without the table of versions has version 0.
func (s *Store) checkVersion(ctx context.Context) error {
	var have int64
	err := s.pool.QueryRow(ctx, sqlVersion).Scan(&have)
	switch code(err) {
	case codeNoTable, codeNoSchema:
		err = nil
	}
	if err != nil {
		return err
	}
	return migrations.Postgres.Check(have)
}

// Identity has what a dump does not restore, the numbers of the cluster, the database and
// a table, and what a point in time restored from a base backup changes, the timeline.
func (s *Store) Identity(ctx context.Context) (identity string, err error) {
	if err := s.pool.QueryRow(ctx, sqlIdentity).Scan(&identity); err != nil {
		return "", fmt.Errorf("identify the database: %w", err)
	}
	return identity, nil
}

func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Close gives all leases up, waits for what is under way and closes the
// connections.
func (s *Store) Close() error {
	s.mu.Lock()
	leases := s.leases
	s.leases = nil
	s.mu.Unlock()
	for l := range leases {
		l.Release()
	}
	s.pool.Close()
	return nil
}

// CreateLog inserts the log and its empty head in one statement, so every log has a
// head to build on, even after a crash. The unique keys of logs refuse a name or an
// origin that is taken.
func (s *Store) CreateLog(ctx context.Context, name, origin string) (storage.Log, error) {
	l, err := s.queryLog(ctx, sqlCreateLog, pgx.StrictNamedArgs{
		"name": name, "origin": origin, "root": tree.EmptyRoot[:],
	})
	if err != nil {
		return nil, fmt.Errorf("create log %q of origin %q: %w", name, origin, err)
	}
	return l, nil
}

func (s *Store) OpenLog(ctx context.Context, name string) (storage.Log, error) {
	l, err := s.queryLog(ctx, sqlOpenLog, pgx.StrictNamedArgs{"name": name})
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", name, err)
	}
	return l, nil
}

// queryLog returns the log in the one row of a query.
func (s *Store) queryLog(ctx context.Context, query string, args pgx.StrictNamedArgs) (*Log, error) {
	l := &Log{store: s}
	err := s.pool.QueryRow(ctx, query, args).Scan(&l.id, &l.info.Name, &l.info.Origin, &l.info.Created)
	if err != nil {
		return nil, sentinel(err)
	}
	l.info.Created = l.info.Created.UTC()
	return l, nil
}

func (s *Store) Logs(ctx context.Context) ([]storage.Info, error) {
	rows, _ := s.pool.Query(ctx, sqlLogs)
	infos, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i storage.Info, err error) {
		err = row.Scan(&i.Name, &i.Origin, &i.Created)
		i.Created = i.Created.UTC()
		return i, err
	})
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return infos, nil
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
	return err
}
