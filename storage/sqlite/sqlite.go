// Package sqlite keeps logs in one SQLite file, by modernc.org/sqlite: no C
// compiler and no server is needed. It is one of the two drivers of package
// storage, whose contract it keeps; the schema is in migrations/sqlite.
//
// What always holds:
//   - a commit is one transaction, synced to the disk when it returns
//     (write-ahead log, synchronous=FULL);
//   - once begun, a write is not interrupted by its context, so a cancelled
//     caller never wonders about the outcome for longer than it takes;
//   - one process at a time holds leases in a file, by a lock that the system
//     drops with the process, and one Store within it;
//   - triggers refuse UPDATE, DELETE and REPLACE on the core to anybody who
//     opens the file.
//
// uint64 and integer: database/sql refuses to send what does not fit, and to
// read a negative number as unsigned, so each conversion is checked there. The
// keys of the key index are the exception, see [column.FromKey].
//
// One connection writes, a few read beside it. A Store is safe for concurrent
// use.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/sqlitefile"
	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A Store is a storage.Store in one SQLite file.
type Store struct {
	path   string // without symbolic links
	reader *reader
	writer *writer

	mu     sync.Mutex
	lock   *sql.DB          // holds the file's lock while there are leases
	leases map[int64]*lease // by log; nil once closed
}

var _ storage.Store = (*Store)(nil)

// Open opens the file at path. It fails, with what to do, unless the schema
// is the one this program was made for; see [Migrate].
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return s, nil
}

// open fails if the file is absent, rather than make one without a schema; see
// [Migrate]. It resolves links first: the lease's lock is named after the file itself.
func open(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: run stele migrate", fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, leases: map[int64]*lease{}}
	if s.writer, err = newWriter(ctx, path); err != nil {
		return nil, err
	}
	have, err := version(ctx, s.writer.db)
	if err == nil {
		err = migrations.SQLite.Check(have)
	}
	if err != nil {
		s.writer.close()
		return nil, err
	}
	if s.reader, err = newReader(path); err != nil {
		s.writer.close()
		return nil, err
	}
	return s, nil
}

// connect returns a pool of n connections to the file at path; see
// [sqlitefile.Open]. With recursive_triggers, REPLACE fires the triggers that refuse
// to delete a row. The write-ahead log is copied into the file every 4000 pages, not
// every 1000: pages that many commits change are then copied less often.
func connect(path, params string, n int) (*sql.DB, error) {
	return sqlitefile.Open(path, params+"&_pragma=recursive_triggers(1)&_pragma=wal_autocheckpoint(4000)", n)
}

// version returns the schema's version, 0 if there is none. It asks whether the table is
// there, as SQLite has no error code for a table that is not.
func version(ctx context.Context, db *sql.DB) (v int64, err error) {
	var tables int
	if err := db.QueryRowContext(ctx, sqlHasVersions).Scan(&tables); err != nil || tables == 0 {
		return 0, err
	}
	err = db.QueryRowContext(ctx, sqlVersion).Scan(&v)
	return v, err
}

// Identity is when the file was created: a copy was created later.
func (s *Store) Identity(context.Context) (string, error) {
	born, err := durable.Born(s.path)
	if err != nil || born.IsZero() {
		return "", err
	}
	return "sqlite/" + born.Format(time.RFC3339Nano), nil
}

// Ping reads from a table, as opening a connection need not touch the file.
func (s *Store) Ping(ctx context.Context) error {
	var v int64
	if err := s.reader.row(ctx, sqlVersion).Scan(&v); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Close gives all leases up, waits for what is under way and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	leases := s.leases
	s.leases = nil
	s.mu.Unlock()
	for _, l := range leases {
		l.Release()
	}
	// The writer goes last: it empties the write-ahead log into the file.
	if err := errors.Join(s.reader.close(), s.writer.close()); err != nil {
		return fmt.Errorf("close database %s: %w", s.path, err)
	}
	return nil
}

// CreateLog inserts the log and its empty head in one transaction, so every log has a
// head to build on, even after a crash. The trigger logs_insert refuses a name or an
// origin that is taken.
func (s *Store) CreateLog(ctx context.Context, name, origin string) (storage.Log, error) {
	now := time.Now().UnixMicro()
	l := &Log{store: s, info: storage.Info{Name: name, Origin: origin, Created: time.UnixMicro(now).UTC()}}
	err := s.writer.write(ctx, func(tx tx) error {
		err := tx.row(sqlAddLog, arg("name", name), arg("origin", origin), arg("now", now)).Scan(&l.id)
		if err != nil {
			return err
		}
		return tx.exec(sqlAddHead, arg("log", l.id), arg("size", 0), arg("base", nil), arg("mac", nil),
			arg("root", tree.EmptyRoot[:]), arg("epoch", 0), arg("now", now))
	})
	if err != nil {
		return nil, fmt.Errorf("create log %q of origin %q: %w", name, origin, err)
	}
	return l, nil
}

func (s *Store) OpenLog(ctx context.Context, name string) (storage.Log, error) {
	l := &Log{store: s}
	var created int64
	err := s.reader.row(ctx, sqlOpenLog, arg("name", name)).Scan(&l.id, &l.info.Name, &l.info.Origin, &created)
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", name, err)
	}
	l.info.Created = time.UnixMicro(created).UTC()
	return l, nil
}

func (s *Store) Logs(ctx context.Context) ([]storage.Info, error) {
	infos, err := collect(ctx, s.reader, func(row row) (i storage.Info, err error) {
		var created int64
		err = row.Scan(&i.Name, &i.Origin, &created)
		i.Created = time.UnixMicro(created).UTC()
		return i, err
	}, sqlLogs)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return infos, nil
}

// sentinel returns the error of package storage that err stands for, or err. SQLite's
// codes do not tell which constraint failed, so the triggers do, in their messages.
func sentinel(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return storage.ErrNotFound
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	// The low byte is the primary code; the rest tells why.
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, // another process has the file
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, // the disk
		sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if e.Code() != sqlite3.SQLITE_CONSTRAINT_TRIGGER {
		return err
	}
	for _, rule := range rules {
		if strings.Contains(e.Error(), rule.name) {
			return rule.err
		}
	}
	return err
}

// rules are the names with which the schema's triggers begin their messages. A trigger
// that is not listed refuses what only a mistake of the caller can lead to.
var rules = []struct {
	name string
	err  error
}{
	{"logs_key:", storage.ErrExists},
	{"heads_epoch_newest:", storage.ErrFenced},
	{"heads_base_newest:", storage.ErrStale},
	{"checkpoints_next:", storage.ErrStale},
	{"checkpoints_size:", storage.ErrNotFound},
}
