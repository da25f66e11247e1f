package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/storage"
)

const (
	maxBatch = 4096 // entries in a batch, unless a step has more

	// An error is followed by a pause: half a second or less after the first, twice
	// as long after each that follows it, up to a minute.
	firstPause, longestPause = 500 * time.Millisecond, time.Minute

	// A follower that is this far behind says every progressEvery how far it has come.
	farBehind     = 1 << 18 // entries
	progressEvery = 10 * time.Second
)

// A loop is one follower on one log.
type loop struct {
	follower Follower
	log      *storage.Reader
	logger   *slog.Logger

	wake   chan struct{} // holds a token if there may be a batch
	size   atomic.Uint64 // up to which entries may be seen
	wanted atomic.Uint64 // size at which there is a batch

	next                        atomic.Uint64 // first entry that was not applied
	batches, failures, rebuilds atomic.Uint64

	// Of run alone.
	errors   int // in a row
	progress time.Time
}

// grow says that the log may be seen up to a size. A lone writer would pay for a
// follower that is woken by each commit: it is woken once there is a batch.
func (l *loop) grow(size uint64) {
	for old := l.size.Load(); old < size && !l.size.CompareAndSwap(old, size); old = l.size.Load() {
	}
	if size < l.wanted.Load() {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lag returns how many entries may be seen that were not applied.
func (l *loop) lag() uint64 {
	size, next := l.size.Load(), l.next.Load()
	return max(size, next) - next
}

// run follows the log until the context ends.
func (l *loop) run(ctx context.Context) {
	for {
		err := l.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		l.errors++
		pause := pauseAfter(l.errors)
		if errors.Is(err, storage.ErrStale) {
			// Another server was quicker. Whoever loses again and again gives way.
			l.logger.Debug("another server has moved the cursor", "error", err)
			if l.errors == 1 {
				continue
			}
		} else {
			l.failures.Add(1)
			l.logger.Error("the follower is behind, trying again", "error", err, "lag", l.lag(), "after", pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// pauseAfter returns how long to wait after n errors in a row. What fails on many
// servers and logs at once is not tried again by all of them at once.
func pauseAfter(n int) time.Duration {
	pause := longestPause
	if doublings := n - 1; doublings < 10 {
		pause = min(firstPause<<doublings, longestPause)
	}
	return pause/2 + rand.N(pause/2)
}

// follow opens the state and applies to it what the log has and gets, until
// something fails.
func (l *loop) follow(ctx context.Context) error {
	state, err := l.open(ctx)
	if err != nil {
		return err
	}
	l.progress = time.Now()
	for {
		start, step := state.Next(), state.Step()
		l.next.Store(start)
		l.wanted.Store(start + step)
		size := l.size.Load()
		if size < start+step {
			l.errors = 0
			if err := l.wait(ctx, start); err != nil {
				return err
			}
			continue
		}
		n := max(step, min(size-start, maxBatch)/step*step)
		b := Batch{Start: start, End: start + n, log: l.log}
		if err := state.Apply(ctx, b); err != nil {
			return fmt.Errorf("apply entries %d to %d: %w", b.Start, b.End-1, err)
		}
		if state.Next() != b.End {
			return fmt.Errorf("entries %d to %d were applied, but the next is said to be %d", b.Start, b.End-1, state.Next())
		}
		l.errors = 0
		l.batches.Add(1)
		if size-start > farBehind && time.Since(l.progress) > progressEvery {
			l.progress = time.Now()
			l.logger.Info("the follower is catching up", "entries", b.End, "of", size)
		}
	}
}

// wait returns once there may be a batch, with ErrStale if another server has
// applied entries that this one has not: it need not read what it would lose.
func (l *loop) wait(ctx context.Context, next uint64) error {
	select {
	case <-l.wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	at, err := l.cursor(ctx)
	if err == nil && (at.Version != l.follower.Version() || at.Next > next) {
		err = fmt.Errorf("the cursor stands at entry %d, version %d: %w", at.Next, at.Version, storage.ErrStale)
	}
	return err
}

// open returns the state as of the cursor. State that cannot be that is dropped:
// it is of another version, damaged, or has come to be behind or ahead of its cursor,
// which the two can do only together.
func (l *loop) open(ctx context.Context) (State, error) {
	before, err := l.cursor(ctx)
	if err != nil {
		return nil, err
	}
	if before.Version != l.follower.Version() {
		if before != (storage.Position{}) {
			l.logger.Info("what the follower has stored is built again", "version", before.Version, "needed", l.follower.Version())
		}
		if err := l.rebuild(ctx, before); err != nil {
			return nil, err
		}
		before = storage.Position{Version: l.follower.Version()}
	}
	state, err := l.follower.Open(ctx, l.log)
	if errors.Is(err, storage.ErrDamaged) {
		return nil, errors.Join(err, l.rebuild(ctx, before))
	}
	if err != nil {
		return nil, err
	}
	after, err := l.cursor(ctx)
	if err != nil {
		return nil, err
	}
	if next := state.Next(); next < before.Next || next > after.Next {
		err := fmt.Errorf("%w: what is stored goes up to entry %d, the cursor stands at %d", storage.ErrDamaged, next, after.Next)
		return nil, errors.Join(err, l.rebuild(ctx, after))
	}
	return state, nil
}

// rebuild drops what is stored, and puts the cursor to entry 0.
func (l *loop) rebuild(ctx context.Context, from storage.Position) error {
	to := storage.Position{Version: l.follower.Version()}
	err := l.follower.Drop(ctx, l.log, storage.Move{Follower: l.follower.Name(), From: from, To: to})
	if err != nil {
		return fmt.Errorf("drop what is stored: %w", err)
	}
	l.rebuilds.Add(1)
	return nil
}

func (l *loop) cursor(ctx context.Context) (storage.Position, error) {
	return l.log.Log().Cursors().Get(ctx, l.follower.Name())
}
