package postgres

// This file is leases: one sequencer a log. Two mechanisms share the work. A row of
// stele.leases, which its holder renews every second, keeps other servers from trying;
// it expires by the database's clock. An epoch, one row of stele.epochs for each lease,
// is for a holder that has lost its lease and not noticed, because it was stopped or cut
// off: its commits still carry the old epoch, and the trigger check_newest refuses them.
//
// A holder that cannot renew its leases keeps them until it hears that another has taken
// them. If nobody has, it goes on in its epoch.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/storage"
)

const (
	renewEvery   = time.Second
	renewTimeout = 2 * time.Second

	// releaseTimeout bounds how long giving up a lease may take. One that is not given
	// up expires.
	releaseTimeout = 500 * time.Millisecond
)

// A lease is a row of stele.leases that carries its epoch.
type lease struct {
	log   *Log
	epoch uint64
	lost  chan struct{} // closed by end
	ended sync.Once
}

var _ storage.Lease = (*lease)(nil)

// Lead looks at the lease before it tries to take it: servers that wait ask every
// second, and a refused INSERT would write to the row all the same.
func (l *Log) Lead(ctx context.Context, holder string) (storage.Lease, error) {
	err := l.leased(ctx)
	if err != nil {
		return nil, fmt.Errorf("lead log %q: %w", l.info.Name, err)
	}
	led := &lease{log: l, lost: make(chan struct{})}
	err = l.store.write(ctx, statementTimeout, sqlLead, pgx.StrictNamedArgs{
		"log": l.id, "server": l.store.name, "holder": holder,
	}, &led.epoch)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrLeased) {
		err = storage.ErrLeased // another was quicker
	}
	if err == nil {
		err = l.store.keep(led)
	}
	if err != nil {
		return nil, fmt.Errorf("lead log %q: %w", l.info.Name, err)
	}
	return led, nil
}

// leased returns a [*storage.LeasedError] if the log has a holder. A lease of this
// store's that the store does not know of is one whose taking was not answered.
func (l *Log) leased(ctx context.Context) error {
	if l.store.holds(l.id) {
		return storage.ErrLeased
	}
	var other storage.LeasedError
	err := l.store.queryRow(ctx, sqlHolder, pgx.StrictNamedArgs{"log": l.id, "server": l.store.name},
		&other.Holder, &other.Expires)
	switch {
	case err == nil:
		return &other
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}

func (l *lease) Epoch() uint64 { return l.epoch }

func (l *lease) Lost() <-chan struct{} { return l.lost }

// end closes lost.
func (l *lease) end() { l.ended.Do(func() { close(l.lost) }) }

// Release closes lost before it lets others have the lease, so a holder hears of it no
// later than its successor. If the database does not hear of it, the lease expires.
func (l *lease) Release() {
	l.end()
	store := l.log.store
	if !store.forget(l) {
		return
	}
	ctx, cancel := context.WithTimeout(storage.InLane(context.Background(), storage.Sequencing), releaseTimeout)
	defer cancel()
	_ = store.exec(ctx, sqlRelease, pgx.StrictNamedArgs{"log": l.log.id, "epoch": l.epoch})
}

// keep has a lease renewed from now on. A lease on the same log from before is lost: the
// epoch of the new one is greater.
func (s *Store) keep(l *lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return errClosed
	}
	if before := s.leases[l.log.id]; before != nil {
		before.end()
	}
	s.leases[l.log.id] = l
	s.keepOnce.Do(func() { s.keeping.Go(s.renewLeases) })
	return nil
}

// holds reports whether the store has a lease on a log.
func (s *Store) holds(log int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[log] != nil
}

// forget has a lease no longer renewed. It reports whether it was till then.
func (s *Store) forget(l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[l.log.id] != l {
		return false
	}
	delete(s.leases, l.log.id)
	return true
}

// held returns the leases that are to be renewed.
func (s *Store) held() []*lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.leases))
}

// renewLeases renews the store's leases until the store is closed. When the database
// answers again after it did not, the other connections are replaced: they may have
// died in silence.
func (s *Store) renewLeases() {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	away := false
	for {
		select {
		case <-s.closing.Done():
			return
		case <-ticker.C:
		}
		err := s.renew(s.held())
		if err == nil && away {
			s.reset()
		}
		away = err != nil
	}
}

// renew renews leases by one statement, whatever their number, and ends those that
// another server has taken.
func (s *Store) renew(leases []*lease) error {
	if len(leases) == 0 {
		return nil
	}
	logs, epochs := make([]int32, len(leases)), make([]uint64, len(leases))
	for i, l := range leases {
		logs[i], epochs[i] = l.log.id, l.epoch
	}
	var kept []int32
	err := s.run(storage.InLane(s.closing, renewing), renewTimeout, func(st *statement) error {
		return st.QueryRow(st.ctx, sqlRenew, pgx.StrictNamedArgs{"logs": logs, "epochs": epochs}).Scan(&kept)
	})
	if err != nil {
		return err
	}
	for _, l := range leases {
		if !slices.Contains(kept, l.log.id) && s.forget(l) {
			l.end()
		}
	}
	return nil
}
