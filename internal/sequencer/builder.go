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
	stored   lastChunk
	recorded time.Time // of the last batch built

	mu      sync.Mutex
	pending []*batch // being built, or built and not committed
}

// newBuilder reads the right edge of the log, and refuses one that does not
// belong to the head.
func newBuilder(ctx context.Context, cfg Config, stats *Stats, epoch uint64) (*builder, error) {
	head, err := cfg.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	frontier, err := tree.ReadFrontier(ctx, cfg.Reader, head.Size)
	if err != nil {
		return nil, err
	}
	if got := frontier.Head(); got != head {
		return nil, fmt.Errorf("%w: the tree that is stored has %v, but the head that is stored is %v; "+
			"nothing is written to this log until it is restored", storage.ErrDamaged, got, head)
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
	var keys []uint64
	for _, r := range next.requests {
		keys = append(keys, r.keys...)
		r.results = make([]Result, len(r.events))
	}
	indexed, err := b.dedup.find(ctx, keys)
	if err != nil {
		return err
	}
	k := 0
	var refused int
	var first *ConflictError
	for _, r := range next.requests {
		for i := range r.events {
			e := &r.events[i]
			candidates := append(indexed[k], b.dedup.tail(keys[k])...)
			res, err := b.original(ctx, e, candidates)
			if err != nil {
				return err
			}
			if res == nil {
				res = &Result{Index: next.Base + uint64(len(next.added))}
				b.dedup.add(keys[k])
				next.added = append(next.added, e)
			}
			if res.Conflict != nil {
				refused++
				first = cmp.Or(first, res.Conflict)
			}
			r.results[i] = *res
			k++
		}
	}
	if refused > 0 {
		b.cfg.Logger.Warn("events refused", "events", refused, "first", first)
	}
	return nil
}

// original returns what the event is a duplicate of or in conflict with among
// the candidates, or nil if it is new.
func (b *builder) original(ctx context.Context, e *event.Event, candidates []uint64) (*Result, error) {
	for _, index := range candidates {
		same, content, leaf, err := b.compare(ctx, e, index)
		switch {
		case err != nil:
			return nil, err
		case !same:
			continue // another (source, id) with the same key
		case content:
			b.stats.Duplicates.Add(1)
			return &Result{Index: index, Leaf: leaf, Duplicate: true}, nil
		}
		b.stats.Conflicts.Add(1)
		return &Result{Conflict: &ConflictError{Source: e.Source, ID: e.ID, Index: index}}, nil
	}
	return nil, nil
}

// compare reports whether the entry at index has the event's source and id, and
// whether it has its content. The leaf hash of an entry in the batch being built
// is not known yet.
func (b *builder) compare(ctx context.Context, e *event.Event, index uint64) (same, content bool, leaf tree.Hash, err error) {
	if p, leaf := b.inFlight(index); p != nil {
		same = p.Source == e.Source && p.ID == e.ID
		return same, string(p.Received()) == string(e.Received()), leaf, nil
	}
	entry, err := b.stored.read(ctx, b.cfg.Log, index)
	if err != nil {
		return false, false, leaf, err
	}
	stored, err := event.Decode(entry)
	if err != nil {
		return false, false, leaf, fmt.Errorf("entry %d: %w: %w", index, storage.ErrDamaged, err)
	}
	same = stored.Source == e.Source && stored.ID == e.ID
	return same, string(stored.Received()) == string(e.Received()), tree.LeafHash(entry), nil
}

// A lastChunk keeps the entries of one stored chunk: duplicates often come in
// the order of their originals.
type lastChunk struct {
	chunk   storage.Chunk
	entries [][]byte
}

func (l *lastChunk) read(ctx context.Context, log storage.Log, index uint64) ([]byte, error) {
	if index < l.chunk.Start || index >= l.chunk.End() {
		chunks, err := storage.Chunks(ctx, log, index, index+1)
		if err != nil {
			return nil, err
		}
		if len(chunks) == 0 {
			return nil, fmt.Errorf("%w: entry %d is missing", storage.ErrDamaged, index)
		}
		entries, err := chunks[0].Entries()
		if err != nil {
			return nil, err
		}
		l.chunk, l.entries = chunks[0], entries
	}
	return l.entries[index-l.chunk.Start], nil
}

// inFlight returns the event at an index that is not committed yet.
func (b *builder) inFlight(index uint64) (*event.Event, tree.Hash) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pending {
		if i := index - p.Base; index >= p.Base && i < uint64(len(p.added)) {
			if len(p.leaves) == 0 {
				return p.added[i], tree.Hash{}
			}
			return p.added[i], p.leaves[i]
		}
	}
	return nil, tree.Hash{}
}
