package sequencer

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/storage"
)

// dedup finds the entries that an event may be a duplicate of: in the key
// index, and in memory those that have no run there yet. One goroutine calls
// renew, tail and add, which are about a batch; look, about a request, is called by any
// number, and committed and follow may run beside them.
type dedup struct {
	secret storage.Secret // of the keys
	index  *keyindex.Index
	logger *slog.Logger
	wake   chan struct{} // holds a token if a segment may be ready for the index

	originals originals
	turn      chan struct{} // holds a token while a large request is served; see inTurn

	mu       sync.Mutex
	segments []*segment // adjacent, from the index's end on; all but the last full
	durable  uint64     // size of the newest committed head

	// view are the segments as of the last renew, and newer ones. It is taken
	// before the index is asked, so that an entry that moves from one to the
	// other meanwhile is found in both, not in neither.
	view []*segment
}

// progressEvery is how often openDedup logs how far it has come, if there is more
// than one run to index.
const progressEvery = 10 * time.Second

// openDedup opens the key index and reads the entries that are not in it yet:
// the log is the write-ahead log of its index. Full segments go to the index on
// the way, so that memory holds about one of them however far the index is behind.
func openDedup(ctx context.Context, cfg Config, size uint64) (*dedup, error) {
	secret, err := keyindex.ReadSecret(ctx, cfg.Log.Runs())
	if err != nil {
		return nil, err
	}
	index, err := keyindex.Open(ctx, cfg.Log.Runs(), keyindex.Events)
	if err != nil {
		return nil, err
	}
	d := &dedup{secret: secret, index: index, logger: cfg.Logger, wake: make(chan struct{}, 1), durable: size,
		originals: originals{log: cfg.Log}, turn: make(chan struct{}, 1)}
	if index.End() > size {
		return nil, fmt.Errorf("%w: the key index knows entry %d, the log ends at %d",
			storage.ErrDamaged, index.End()-1, size)
	}
	const step = 16384 // entries read at once
	var lastProgress time.Time
	for start := index.End(); start < size; start += step {
		if size-start > keyindex.RunLength && time.Since(lastProgress) > progressEvery {
			lastProgress = time.Now()
			cfg.Logger.Info("indexing what the log has, before it is written to", "entries", start, "of", size)
		}
		if err := d.read(ctx, cfg.Log, start, min(start+step, size)); err != nil {
			return nil, fmt.Errorf("read the entries that are not in the key index: %w", err)
		}
		if err := d.flush(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// read adds the keys of the entries from start up to but not including end.
func (d *dedup) read(ctx context.Context, log storage.Log, start, end uint64) error {
	chunks, err := storage.Chunks(ctx, log, start, end)
	if err != nil {
		return err
	}
	keys := make([]uint64, end-start)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	next := start
	for _, c := range chunks {
		if c.Start > next {
			break
		}
		next = c.End()
		g.Go(func() error { return d.readKeys(c, start, keys) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if next < end {
		return fmt.Errorf("%w: entry %d is missing", storage.ErrDamaged, next)
	}
	for _, key := range keys {
		d.remember(key)
	}
	return nil
}

// readKeys sets those of the keys of the entries from start on that are in a
// chunk.
func (d *dedup) readKeys(c storage.Chunk, start uint64, keys []uint64) error {
	entries, err := c.Entries()
	if err != nil {
		return err
	}
	for i, entry := range entries {
		index := c.Start + uint64(i)
		if index < start || index-start >= uint64(len(keys)) {
			continue
		}
		e, err := event.Decode(entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w: %w", index, storage.ErrDamaged, err)
		}
		keys[index-start] = keyindex.EventKey(d.secret, e.Source, e.ID)
	}
	return nil
}

// keysOf returns the keys of events.
func (d *dedup) keysOf(events []event.Event) []uint64 {
	keys := make([]uint64, len(events))
	for i := range events {
		keys[i] = keyindex.EventKey(d.secret, events[i].Source, events[i].ID)
	}
	return keys
}

// renew takes the view for the next batch, and returns the candidates in the key index
// from an entry on: few, as the entries of the last minutes are in memory.
func (d *dedup) renew(ctx context.Context, keys []uint64, from uint64) ([]candidate, error) {
	d.mu.Lock()
	d.view = slices.Clone(d.segments)
	d.mu.Unlock()
	if d.index.End() <= from {
		return nil, nil
	}
	matches, err := d.index.Find(ctx, keys)
	var found []candidate
	for _, m := range matches {
		if m.Index >= from {
			found = append(found, candidate{m.Index, m.Key})
		}
	}
	return found, err
}

// tail returns the entries that have the key and were in memory at the last
// renew, or were added since.
func (d *dedup) tail(key uint64) []uint64 {
	var found []uint64
	for _, s := range d.view {
		found = s.find(found, key)
	}
	return found
}

// add remembers the key of the next entry, for tail too.
func (d *dedup) add(key uint64) {
	if begun := d.remember(key); begun != nil {
		d.view = append(d.view, begun)
	}
}

// remember keeps the key of the next entry, and returns the segment if it has begun
// one.
func (d *dedup) remember(key uint64) (begun *segment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.segments); n == 0 || len(d.segments[n-1].keys) == keyindex.RunLength {
		start := d.index.End()
		if n > 0 {
			start = d.segments[n-1].start + keyindex.RunLength
		}
		begun = newSegment(start)
		d.segments = append(d.segments, begun)
	}
	d.segments[len(d.segments)-1].add(key)
	return begun
}

// committed takes note that the log has durably reached a size: segments below it
// may move to the index.
func (d *dedup) committed(size uint64) {
	d.mu.Lock()
	d.durable = size
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// follow reads the key index's filters, and moves full segments to the key index
// until the context ends. While that fails they stay in memory.
func (d *dedup) follow(ctx context.Context) {
	if err := d.index.LoadFilters(ctx); err != nil && ctx.Err() == nil {
		d.logger.Error("the key index is without some of its filters, and slow", "error", err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		if err := d.flush(ctx); err != nil && ctx.Err() == nil {
			d.logger.Error("the key index is behind, trying again", "error", err)
			select {
			case <-time.After(leaseRetry):
			case <-ctx.Done():
			}
		}
	}
}

// flush moves to the key index the segments that are full and committed.
func (d *dedup) flush(ctx context.Context) error {
	for s := d.full(); s != nil; s = d.full() {
		if err := d.index.Add(ctx, s.keys, nil); err != nil {
			return err
		}
		d.mu.Lock()
		d.segments = d.segments[1:]
		d.mu.Unlock()
	}
	return nil
}

// full returns the first segment if it is full and committed.
func (d *dedup) full() *segment {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.segments) == 0 || len(d.segments[0].keys) < keyindex.RunLength ||
		d.segments[0].start+keyindex.RunLength > d.durable {
		return nil
	}
	return d.segments[0]
}
