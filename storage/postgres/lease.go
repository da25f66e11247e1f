package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/storage"
)

// A holder that cannot reach the database must have noticed before the database
// gives up on it, 30 s after the last sign of life (see sqlLeaseSession).
const (
	pingEvery   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// A lease is a session that holds a log's advisory lock.
type lease struct {
	log   *Log
	conn  *pgx.Conn // used by one goroutine: first Lead, then watch
	epoch uint64
	lost  chan struct{}
	stop  context.CancelFunc
	done  chan struct{}
	end   sync.Once
}

// Lead implements storage.Log. The lease has a connection of its own.
func (l *Log) Lead(ctx context.Context) (storage.Lease, error) {
	lease, err := l.lead(ctx)
	if err != nil {
		return nil, fmt.Errorf("lead log %q: %w", l.info.Name, err)
	}
	return lease, nil
}

func (l *Log) lead(ctx context.Context) (_ *lease, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.store.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConn(conn)
		}
	}()
	if err := startSession(ctx, conn); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, sqlLeaseSession); err != nil {
		return nil, err
	}
	if err := l.lock(ctx, conn); err != nil {
		return nil, err
	}
	lease := &lease{log: l, conn: conn, lost: make(chan struct{}), done: make(chan struct{})}
	host, _ := os.Hostname() // it is for people to read
	err = conn.QueryRow(ctx, sqlBeginEpoch, pgx.StrictNamedArgs{
		"log": l.id, "holder": fmt.Sprintf("%s/%d", host, os.Getpid()),
	}).Scan(&lease.epoch)
	if err != nil {
		return nil, err
	}
	return lease, lease.start()
}

// lock takes the log's advisory lock, at once or not at all.
func (l *Log) lock(ctx context.Context, conn *pgx.Conn) error {
	args := pgx.StrictNamedArgs{"log": l.id}
	var locked bool
	if err := conn.QueryRow(ctx, sqlTryLock, args).Scan(&locked); err != nil {
		return err
	}
	if locked {
		return nil
	}
	var holder string
	if err := conn.QueryRow(ctx, sqlHolder, args).Scan(&holder); err != nil {
		return storage.ErrLeased // whoever it is has not begun its epoch yet
	}
	return fmt.Errorf("%w: %s", storage.ErrLeased, holder)
}

// start watches the lease from now on.
func (l *lease) start() error {
	store := l.log.store
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.leases == nil {
		return errors.New("the store is closed")
	}
	store.leases[l] = struct{}{}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.watch(ctx)
	return nil
}

// Epoch implements storage.Lease.
func (l *lease) Epoch() uint64 { return l.epoch }

// Lost implements storage.Lease.
func (l *lease) Lost() <-chan struct{} { return l.lost }

// Release implements storage.Lease. The lock is free when it returns.
func (l *lease) Release() {
	l.end.Do(l.stop)
	<-l.done
}

// watch waits until the lease is released or its session ends.
func (l *lease) watch(ctx context.Context) {
	defer close(l.done)
	for l.alive(ctx) {
	}
	close(l.lost)
	l.unlock()
	store := l.log.store
	store.mu.Lock()
	delete(store.leases, l)
	store.mu.Unlock()
}

// alive waits for as long as a ping is not due. It reports whether the session
// is alive then and the lease not released.
func (l *lease) alive(ctx context.Context) bool {
	wait, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	// No notification is listened for: this reads from the connection, so it
	// returns at once if the server closes it.
	_, err := l.conn.WaitForNotification(wait)
	if ctx.Err() != nil || (err != nil && wait.Err() == nil) {
		return false
	}
	ping, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return l.conn.Ping(ping) == nil
}

// unlock frees the lock, if it is not gone with the session already.
func (l *lease) unlock() {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	// Closing the connection frees the lock as well, but only some time after.
	l.conn.Exec(ctx, sqlUnlock, pgx.StrictNamedArgs{"log": l.log.id})
	closeConn(l.conn)
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	conn.Close(ctx)
}
