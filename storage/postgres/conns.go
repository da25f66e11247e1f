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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/storage"
)

const (
	// connectTimeout is how long connecting to a host may take, unless the URL has a
	// connect_timeout.
	connectTimeout = 2 * time.Second

	// laneConns is the number of connections, at most, of each lane but Reading, which has
	// what is left of pool_max_conns in the URL.
	laneConns = 4

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

// parseURL reads a connection string. MaxConns of the result is the number of connections
// of all lanes: pool_max_conns, or else laneConns for each lane and, for Reading, one a
// processor if that is more.
func parseURL(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	plain, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if _, chosen := plain.RuntimeParams["pool_max_conns"]; !chosen {
		config.MaxConns += storage.Lanes * laneConns
	}
	if config.MaxConns <= storage.Lanes {
		return nil, fmt.Errorf("pool_max_conns must be %d or more: those who read, what writes, what signs and what renews leases have connections of their own",
			storage.Lanes+1)
	}
	return config, nil
}

// newConns makes the pools; they connect when they are first used. Where there are few
// connections, each lane has its share.
func newConns(config *pgxpool.Config) (_ *conns, err error) {
	c := &conns{}
	c.alive, c.cut = context.WithCancelCause(context.Background())
	share := min(config.MaxConns/(storage.Lanes+1), laneConns)
	for lane := range c.lanes {
		of := config.Copy()
		if storage.Lane(lane) == storage.Reading {
			of.MaxConns -= storage.Lanes * share
		} else {
			of.MaxConns, of.MinConns, of.MinIdleConns = share, 0, 0
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

// connect makes sure that there is a connection for each lane. Behind a pooler it takes all that
// the lanes may have: one that has no session of the database left lets a client connect all
// the same, and has its statements wait for ever. If it has fewer, the lanes share those.
func (s *Store) connect(ctx context.Context, pooler bool) error {
	had, err := s.conns.take(ctx, pooler)
	if err == nil || !pooler || had <= storage.Lanes {
		return err
	}
	fewer := s.config.Copy()
	fewer.MaxConns = int32(had)
	conns, err := newConns(fewer)
	if err != nil {
		return err
	}
	s.conns.close(0, errClosed)
	s.config, s.conns = fewer, conns
	_, err = s.conns.take(ctx, pooler)
	return err
}

// take has each lane take one connection, or all that it may have, and returns how many there
// were.
func (c *conns) take(ctx context.Context, all bool) (had int, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	for _, pool := range c.lanes {
		n := 1
		if all {
			n = int(pool.Config().MaxConns)
		}
		for range n {
			conn, err := pool.Acquire(ctx)
			if err == nil {
				defer conn.Release()
				err = conn.Ping(ctx)
			}
			if err != nil {
				return had, fmt.Errorf("%w: only %d connections could be had, and %d are needed; a pooler has as many as its default_pool_size: %w",
					storage.ErrUnavailable, had, storage.Lanes+1, err)
			}
			had++
		}
	}
	return had, nil
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
