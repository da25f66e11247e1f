package postgres

// This file is leases: one sequencer a log. Two mechanisms share the work. An advisory
// lock, held by a session, keeps a second server from starting, and PostgreSQL frees it
// when the holder's process or machine is gone. An epoch, one row of stele.epochs for
// each lease, is for a holder that has lost its session and not noticed: its commits
// still carry the old epoch, and the trigger check_newest refuses them.

import (
	"context"
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
	pingEvery = 5 * time.Second
)

// A lease is a session that holds a log's advisory lock. Its goroutine, watch, ends
// with the lease; it alone uses the connection, as pgx allows one user at a time.
type lease struct {
	log   *Log
	conn  *pgx.Conn // used by one goroutine: first Lead, then watch
	epoch uint64
	lost  chan struct{} // closed when the lease has ended
	stop  context.CancelFunc
	done  chan struct{} // closed once the lock is free
	end   sync.Once
}

var _ storage.Lease = (*lease)(nil)

// Lead takes the lock on a connection of its own, outside the pool: the lock lives
// as long as the session, and a pool closes sessions that are idle or old.
func (l *Log) Lead(ctx context.Context) (storage.Lease, error) {
	lease, err := l.lead(ctx)
	if err != nil {
		return nil, fmt.Errorf("lead log %q: %w", l.info.Name, err)
	}
	return lease, nil
}

// lead takes the lock first and begins the epoch second. The trigger fence has the new
// epoch wait for commits under way, so no commit of an old epoch comes after it. A
// crash between the two leaves no trace but a lock that the session's end frees; after
// the second it leaves an epoch that was never used, which does no harm.
func (l *Log) lead(ctx context.Context) (_ *lease, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.store.config.ConnConfig.Copy())
	if err != nil {
		return nil, meaning(ctx, ctx, err, isNetwork(err))
	}
	defer func() {
		if err != nil {
			err = meaning(ctx, ctx, err, conn.IsClosed())
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
	err = durably(ctx, conn, sqlBeginEpoch, pgx.StrictNamedArgs{
		"log": l.id, "holder": fmt.Sprintf("%s/%d", host, os.Getpid()),
	}, &lease.epoch)
	if err != nil {
		return nil, err
	}
	return lease, lease.start()
}

// lock takes the log's advisory lock, at once or not at all, since a server that waits
// should report why. The name of the holder in the error is for people: it is the
// newest epoch's, read after the lock was refused.
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

// start watches the lease from now on. It registers the lease under the store's mutex,
// so Close either releases the lease or makes start fail.
func (l *lease) start() error {
	store := l.log.store
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.closed {
		return errClosed
	}
	store.leases[l] = struct{}{}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.watch(ctx)
	return nil
}

func (l *lease) Epoch() uint64 { return l.epoch }

func (l *lease) Lost() <-chan struct{} { return l.lost }

// Release waits for watch, so another server can take the lock once it has returned.
func (l *lease) Release() {
	l.end.Do(l.stop)
	<-l.done
}

// watch waits until the lease is released or its session ends. It closes lost before
// it frees the lock, so a holder hears of a release no later than its successor. If the
// session ended first, a successor may be quicker; then the epoch fences.
func (l *lease) watch(ctx context.Context) {
	defer close(l.done)
	for l.alive(ctx) {
	}
	close(l.lost)
	if ctx.Err() == nil {
		l.log.store.reset() // other connections may have died with this one
	}
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

// closeConn has a context of its own: that of the caller may have ended already, and
// the database should still be told.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	conn.Close(ctx)
}
