package sqlite

// This file is leases. Among processes, and among Stores of one process, the lock of a
// file beside the database decides who may lead; within a Store, the map of leases does.
// The operating system frees the lock with its process, so a crash leaves nothing to
// clean up. A lease cannot be lost unawares as one on another machine can; epochs are
// kept all the same, so that a lease that was released and used again is refused.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-log/stele/internal/sqlitefile"
	"github.com/stele-log/stele/storage"
)

// A lease is a log's entry in Store.leases. While there is one the store holds
// the lock of the file. It needs no goroutine: nothing but Release can end it.
type lease struct {
	log   *Log
	epoch uint64
	lost  chan struct{} // closed by Release
	end   sync.Once
}

var _ storage.Lease = (*lease)(nil)

// Lead takes the lock of the whole file: another process, or another Store, can lead
// none of its logs meanwhile. The lease is not lost before it is released.
func (l *Log) Lead(ctx context.Context, holder string) (storage.Lease, error) {
	lease, err := l.store.lead(ctx, l, holder)
	if err != nil {
		return nil, fmt.Errorf("lead log %q: %w", l.info.Name, err)
	}
	return lease, nil
}

// lead takes the file's lock, unless another lease of the Store has it, and begins an
// epoch. The mutex is held throughout, so Close waits and then finds the lease.
func (s *Store) lead(ctx context.Context, l *Log, holder string) (*lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases == nil {
		return nil, errClosed
	}
	if _, ok := s.leases[l.id]; ok {
		return nil, storage.ErrLeased
	}
	if s.lock == nil {
		lock, err := lockFile(ctx, s.path)
		if err != nil {
			return nil, err
		}
		s.lock = lock
	}
	defer s.unlockIdle()
	lease := &lease{log: l, lost: make(chan struct{})}
	err := s.writer.write(ctx, func(tx tx) error {
		return tx.row(sqlBeginEpoch, arg("log", l.id), arg("now", time.Now().UnixMicro()),
			arg("holder", holder)).Scan(&lease.epoch)
	})
	if err != nil {
		return nil, err
	}
	s.leases[l.id] = lease
	return lease, nil
}

// unlockIdle frees the file's lock if there is no lease. The caller holds s.mu.
func (s *Store) unlockIdle() {
	if len(s.leases) == 0 && s.lock != nil {
		s.lock.Close()
		s.lock = nil
	}
}

func (l *lease) Epoch() uint64 { return l.epoch }

func (l *lease) Lost() <-chan struct{} { return l.lost }

// Release closes lost before others can take the lock.
func (l *lease) Release() {
	l.end.Do(func() {
		close(l.lost)
		s := l.log.store
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.leases, l.log.id)
		s.unlockIdle()
	})
}

// lockFile takes the lock of the database at path, at once or not at all. It is
// an exclusive transaction, never ended, in an empty database beside it: SQLite
// knows how to lock a file on each system, and the system frees the lock when
// the process ends.
func lockFile(ctx context.Context, path string) (*sql.DB, error) {
	path, err := filepath.Abs(path + "-lease")
	if err != nil {
		return nil, err
	}
	if err := sqlitefile.Create(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=rw&_busy_timeout=0"}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		db.Close()
		if isBusy(err) {
			return nil, storage.ErrLeased
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return db, nil
}

// isBusy reports whether an error means that another connection has the file. The low
// byte is the primary code; the rest tells why, which does not matter here.
func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}
