// Package postgres keeps logs in PostgreSQL 15 or newer. It is one of the two
// drivers of package storage, whose contract it keeps; the schema, with the
// reasons for it, is in migrations/postgres.
//
// What always holds:
//   - the driver works as the database's role for servers, which can read and insert
//     but, what is derived apart, neither update nor delete;
//   - a commit is one statement: one transaction, one round trip, durable when
//     it returns (synchronous_commit is on, whatever the default is);
//   - the order of commits rests on constraints, not on locks; a lease is a row
//     that expires;
//   - nothing rests on a session: a connection can be lost at any time, and a pooler
//     that lends sessions for a transaction may stand between;
//   - no statement takes longer than it may, whatever the database does;
//   - nothing is retried: a caller that does not know the outcome reads the head.
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
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A Store is a storage.Store in one PostgreSQL database.
type Store struct {
	config  *pgxpool.Config
	name    string          // of this Store among all, in stele.leases
	closing context.Context // ends when Close is called
	stop    context.CancelFunc

	keepOnce sync.Once
	keeping  sync.WaitGroup // the goroutine that renews leases, once there is one

	mu     sync.Mutex
	conns  *conns // to be used from now on
	closed bool
	leases map[int32]*lease // that are renewed, by log
}

var errClosed = fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)

var _ storage.Store = (*Store)(nil)

// Open connects to the database at url, a connection string as libpq and pgx
// know it. It fails, with what to do, unless the schema is the one this
// program was made for; see [Migrate].
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	config.PingTimeout = pingTimeout // of connections that have been idle
	config.AfterConnect = startSession
	config.ConnConfig.BuildFrontend = bufferedFrontend
	config.ConnConfig.OnNotice = noteWarning
	between, err := pooled(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", config.ConnConfig.Database, err)
	}
	if between {
		setUpPooled(config)
	}
	s := &Store{config: config, name: rand.Text(), leases: map[int32]*lease{}}
	s.closing, s.stop = context.WithCancel(context.Background())
	if s.conns, err = newConns(config); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	err = s.checkVersion(ctx)
	if between {
		err = s.checkPooled(ctx, err)
	}
	if err == nil {
		err = s.connect(ctx, between)
	}
	if err != nil {
		s.conns.close(0, errClosed)
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
	ctx, cancel := context.WithTimeout(ctx, conn.Config().ConnectTimeout)
	defer cancel()
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
	err := s.queryRow(ctx, sqlVersion, nil, &have)
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
	if err := s.queryRow(ctx, sqlIdentity, nil, &identity); err != nil {
		return "", fmt.Errorf("identify the database: %w", err)
	}
	return identity, nil
}

func (s *Store) Ping(ctx context.Context) error {
	if err := s.run(ctx, pingTimeout, func(st *statement) error { return st.Ping(st.ctx) }); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Close gives all leases up and closes the connections. What is under way may end
// first, within closeTimeout.
func (s *Store) Close() error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.keeping.Wait()
	for _, l := range s.held() {
		l.Release()
	}
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if !closed {
		s.conns.close(closeTimeout, errClosed)
	}
	return nil
}

// CreateLog inserts the log and its empty head in one statement, so every log has a
// head to build on, even after a crash. The unique keys of logs refuse a name or an
// origin that is taken.
func (s *Store) CreateLog(ctx context.Context, name, origin string) (storage.Log, error) {
	l := &Log{store: s}
	err := s.write(ctx, statementTimeout, sqlCreateLog, pgx.StrictNamedArgs{
		"name": name, "origin": origin, "root": tree.EmptyRoot[:],
	}, &l.id, &l.info.Name, &l.info.Origin, &l.info.Created)
	if err != nil {
		return nil, fmt.Errorf("create log %q of origin %q: %w", name, origin, err)
	}
	l.info.Created = l.info.Created.UTC()
	return l, nil
}

func (s *Store) OpenLog(ctx context.Context, name string) (storage.Log, error) {
	l := &Log{store: s}
	err := s.queryRow(ctx, sqlOpenLog, pgx.StrictNamedArgs{"name": name},
		&l.id, &l.info.Name, &l.info.Origin, &l.info.Created)
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", name, err)
	}
	l.info.Created = l.info.Created.UTC()
	return l, nil
}

func (s *Store) Logs(ctx context.Context) ([]storage.Info, error) {
	infos, err := collect(ctx, s, func(row pgx.CollectableRow) (i storage.Info, err error) {
		err = row.Scan(&i.Name, &i.Origin, &i.Created)
		i.Created = i.Created.UTC()
		return i, err
	}, sqlLogs, nil)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return infos, nil
}
