package postgres

// This file is the connections. Each lane has a pool of its own. All pools are replaced
// when the database answers again after it has been away: nobody knows which of the
// connections from before are alive, and on one whose other end has died in silence an
// answer never comes.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/storage"
)

const (
	// connectTimeout is how long connecting to a host may take, unless the URL has a
	// connect_timeout.
	connectTimeout = 2 * time.Second

	// keptConns is the number of connections, at most, of each lane but Reading, whose
	// number is pool_max_conns in the URL: by default one a processor, and at least 4.
	keptConns = 4

	// resetGrace is how long a statement on a connection that has been replaced may
	// still take: if the database was only slow, the answer is on its way.
	resetGrace = 5 * time.Second

	// closeTimeout is how long closing waits for what is under way, and then for the
	// database to hear of it.
	closeTimeout = 500 * time.Millisecond
)

// renewing is the lane in which leases are renewed, whatever else there is to do.
const renewing = storage.Lane(storage.Lanes)

// conns are a Store's connections, from when it is opened, or has lost its last ones.
type conns struct {
	lanes [storage.Lanes + 1]*pgxpool.Pool
	alive context.Context // ends when statements under way are cut off
	cut   context.CancelCauseFunc
}

// errReplaced cuts off a statement that was sent before the database went away.
var errReplaced = errors.New("the connection did not survive that the database was away")

// newConns makes the pools; they connect when they are first used.
func newConns(config *pgxpool.Config) (_ *conns, err error) {
	c := &conns{}
	c.alive, c.cut = context.WithCancelCause(context.Background())
	for lane := range c.lanes {
		of := config.Copy()
		if storage.Lane(lane) != storage.Reading {
			of.MaxConns, of.MinConns, of.MinIdleConns = keptConns, 0, 0
		}
		if c.lanes[lane], err = pgxpool.NewWithConfig(context.Background(), of); err != nil {
			c.close(0, err)
			return nil, err
		}
	}
	return c, nil
}

// close closes all connections, and waits for that. What is under way has some grace,
// and is then cut off for the reason. A pool that has not closed a little after is left
// to close by itself: it is waiting for a goodbye that may never come.
func (c *conns) close(grace time.Duration, reason error) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		var closing sync.WaitGroup
		for _, pool := range c.lanes {
			if pool != nil {
				closing.Go(pool.Close)
			}
		}
		closing.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(grace):
	}
	c.cut(reason)
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
}

// current returns the connections to use, or errClosed.
func (s *Store) current() (*conns, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	return s.conns, nil
}

// reset replaces all connections. Statements that are under way on the old ones are cut
// off after resetGrace.
func (s *Store) reset() {
	fresh, err := newConns(s.config)
	if err != nil {
		return // the config was good before, and so it is now
	}
	s.mu.Lock()
	old := s.conns
	if s.closed {
		old = fresh
	} else {
		s.conns = fresh
	}
	s.mu.Unlock()
	go old.close(resetGrace, fmt.Errorf("%w: %w", storage.ErrUnavailable, errReplaced))
}
