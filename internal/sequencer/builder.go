package sequencer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A batch is the content of one commit, and the requests that it answers. A batch
// of duplicates alone has no chunks and is not committed. It passes through the
// commit all the same, so that it is answered after the batches before it, in which
// its originals may be.
type batch struct {
	storage.Batch
	requests []*request
	added    []*event.Event // the new entries' events, from Base on
	leaves   []tree.Hash    // the new entries' leaf hashes
}

// bytes returns the size of the batch's chunks.
func (b *batch) bytes() (n uint64) {
	for _, c := range b.Chunks {
		n += uint64(len(c.Data))
	}
	return n
}

// A builder makes batches, each on top of the one before, whether or not that
// one is committed yet. It belongs to the goroutine that builds, but for committed,
// which the one that commits calls.
type builder struct {
	cfg      Config
	stats    *Stats
	epoch    uint64
	head     tree.Head // of the last batch built
	frontier *tree.Frontier
	dedup    *dedup
	recorded time.Time // of the last batch built

	mu      sync.Mutex
	pending []*batch // being built, or built and not committed
}

// newBuilder reads the right edge of the log, and refuses one that does not
// belong to the head, and a head that cannot be proven.
func newBuilder(ctx context.Context, cfg Config, stats *Stats, epoch uint64) (*builder, error) {
	stored, err := cfg.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	head := stored.Head
	frontier, err := tree.ReadFrontier(ctx, cfg.Reader, head.Size)
	if err != nil {
		return nil, err
	}
	if got := frontier.Head(); got != head {
		return nil, fmt.Errorf("%w: the tree that is stored has %v, but the head that is stored is %v; "+
			"nothing is written to this log until it is restored", storage.ErrDamaged, got, head)
	}
	if err := cfg.Prove(ctx, head); err != nil {
		return nil, fmt.Errorf("prove that the log is the one that was signed: %w", err)
	}
	b := &builder{cfg: cfg, stats: stats, epoch: epoch, head: head, frontier: frontier}
	if b.dedup, err = openDedup(ctx, cfg, head.Size); err != nil {
		return nil, err
	}
	return b, nil
}

// build gives the requests' events their indexes, makes their entries and appends
// these to the tree. After an error the builder cannot be used any more.
func (b *builder) build(ctx context.Context, requests []*request) (*batch, error) {
	next := &batch{requests: requests}
	next.Epoch, next.Base = b.epoch, b.head.Size
	b.mu.Lock()
	b.pending = append(b.pending, next)
	b.mu.Unlock()

	if err := b.assign(ctx, next); err != nil {
		return nil, err
	}
	if err := b.render(next); err != nil {
		return nil, err
	}
	next.Tiles = b.frontier.Append(next.leaves)
	next.Head = b.frontier.Head()
	b.head = next.Head
	for _, r := range requests {
		for i, res := range r.results {
			if res.Conflict == nil && res.Index >= next.Base {
				r.results[i].Leaf = next.leaves[res.Index-next.Base]
			}
		}
	}
	return next, nil
}

// committed forgets a batch that is durable.
func (b *builder) committed(done *batch) {
	b.mu.Lock()
	b.pending = slices.DeleteFunc(b.pending, func(p *batch) bool { return p == done })
	b.mu.Unlock()
	b.dedup.committed(done.Head.Size)
}

// assign decides for each event whether it is new, a duplicate or a conflict,
// and gives the new ones the next indexes.
func (b *builder) assign(ctx context.Context, next *batch) error {
	pending := b.notCommitted()
	known, err := b.committedOriginals(ctx, next, pending[0].Base)
	if err != nil {
		return err
	}
	k := 0
	var refused int
	var first *ConflictError
	for _, r := range next.requests {
		r.results = make([]Result, len(r.events))
		for i := range r.events {
			e := &r.events[i]
			res, ok := known[k]
			if !ok {
				res, ok = b.pendingOriginal(e, r.keys[i], pending)
			}
			switch {
			case !ok:
				res = Result{Index: next.Base + uint64(len(next.added))}
				b.dedup.add(r.keys[i])
				next.added = append(next.added, e)
			case res.Duplicate:
				b.stats.Duplicates.Add(1)
			default:
				b.stats.Conflicts.Add(1)
				refused++
				first = cmp.Or(first, res.Conflict)
			}
			r.results[i] = res
			k++
		}
	}
	if refused > 0 {
		b.cfg.Logger.Warn("events refused", "events", refused, "first", first)
	}
	return nil
}

// notCommitted returns the batches that are being built, or built and not committed
// yet. The last is the newest; they hold all entries from the first one's Base on.
func (b *builder) notCommitted() []*batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.pending)
}

// committedOriginals returns the results of those of a batch's events that are entries
// below committed, by position. Their requests have looked for them before they were
// queued; what was committed since is looked at here.
func (b *builder) committedOriginals(ctx context.Context, next *batch, committed uint64) (map[int]Result, error) {
	var events []*event.Event
	var keys []uint64
	known := map[int]Result{}
	from := committed
	for _, r := range next.requests {
		for i, res := range r.lookup.found {
			known[len(events)+i] = res
		}
		for i := range r.events {
			events = append(events, &r.events[i])
		}
		keys = append(keys, r.keys...)
		from = min(from, r.lookup.end)
	}
	candidates, err := b.dedup.renew(ctx, keys, from)
	if err != nil {
		return nil, err
	}
	if from < committed {
		for k, key := range keys {
			for _, entry := range b.dedup.tail(key) {
				candidates = append(candidates, candidate{entry, k})
			}
		}
	}
	candidates = slices.DeleteFunc(candidates, func(c candidate) bool {
		_, ok := known[c.event]
		return ok || c.entry < from || c.entry >= committed
	})
	err = b.dedup.originals.compare(ctx, sorted(candidates), func(k int) *event.Event { return events[k] }, known)
	return known, err
}

// pendingOriginal returns the result of an event if it is an entry that is not
// committed yet. The leaf hash of an entry in the batch being built is not known yet.
func (b *builder) pendingOriginal(e *event.Event, key uint64, pending []*batch) (Result, bool) {
	for _, index := range b.dedup.tail(key) {
		for _, p := range pending {
			i := index - p.Base
			if index < p.Base || i >= uint64(len(p.added)) {
				continue
			}
			var leaf tree.Hash
			if len(p.leaves) > 0 {
				leaf = p.leaves[i]
			}
			if r, same := resultOf(e, p.added[i], index, leaf); same {
				return r, true
			}
		}
	}
	return Result{}, false
}
