package sequencer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A candidate is a stored entry that has the key of an event, and may be it.
type candidate struct {
	entry uint64
	event int // position among those that are looked up
}

// sorted sorts candidates by entry, for compare, and drops those that are there twice.
func sorted(candidates []candidate) []candidate {
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.entry, b.entry), cmp.Compare(a.event, b.event))
	})
	return slices.Compact(candidates)
}

// originals compares events with stored entries, and keeps the chunks that it has
// decoded last: duplicates often come in the order of their originals, a few at a time.
type originals struct {
	log storage.Log

	mu     sync.Mutex
	recent [recentChunks]decoded
	next   int // of recent, to be overwritten
}

const (
	recentChunks = 32
	maxRecent    = 256 << 10 // bytes of a chunk that is kept, decoded
)

// decoded are the entries of a chunk.
type decoded struct {
	start   uint64
	entries [][]byte
}

// entry returns the entry at an index, or nil if the chunk does not have it.
func (d decoded) entry(index uint64) []byte {
	if i := index - d.start; index >= d.start && i < uint64(len(d.entries)) {
		return d.entries[i]
	}
	return nil
}

// compare adds to found the result of each event that is one of its candidates, by
// the event's position. The candidates are sorted, and committed; what is not kept of
// them is read with one query.
func (o *originals) compare(ctx context.Context, candidates []candidate, at func(int) *event.Event, found map[int]Result) error {
	var missing []candidate
	var bundles []uint64
	for _, c := range candidates {
		if entry := o.kept(c.entry); entry != nil {
			if err := compareEntry(c, entry, at, found); err != nil {
				return err
			}
			continue
		}
		missing = append(missing, c)
		if b := c.entry / tile.Width; len(bundles) == 0 || bundles[len(bundles)-1] != b {
			bundles = append(bundles, b)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	compared := 0
	err := o.log.EachChunkOf(ctx, bundles, func(c storage.Chunk) error {
		first := sort.Search(len(missing), func(i int) bool { return missing[i].entry >= c.Start })
		if first == len(missing) || missing[first].entry >= c.End() {
			return nil
		}
		entries, err := c.Entries()
		if err != nil {
			return err
		}
		d := decoded{c.Start, entries}
		o.keep(d)
		for _, m := range missing[first:] {
			entry := d.entry(m.entry)
			if entry == nil {
				break
			}
			compared++
			if err := compareEntry(m, entry, at, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && compared < len(missing) {
		err = fmt.Errorf("%w: of %d entries from %d on that have the keys of events, %d are missing",
			storage.ErrDamaged, len(missing), missing[0].entry, len(missing)-compared)
	}
	return err
}

// kept returns an entry of a chunk that is kept, or nil.
func (o *originals) kept(index uint64) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.recent {
		if entry := d.entry(index); entry != nil {
			return entry
		}
	}
	return nil
}

func (o *originals) keep(d decoded) {
	size := 0
	for _, e := range d.entries {
		size += len(e)
	}
	if size > maxRecent {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recent[o.next] = d
	o.next = (o.next + 1) % recentChunks
}

// compareEntry adds the result of a candidate to found, if the event is that entry.
func compareEntry(c candidate, entry []byte, at func(int) *event.Event, found map[int]Result) error {
	stored, err := event.Decode(entry)
	if err != nil {
		return fmt.Errorf("entry %d: %w: %w", c.entry, storage.ErrDamaged, err)
	}
	if r, ok := resultOf(at(c.event), &stored.Event, c.entry, tree.LeafHash(entry)); ok {
		found[c.event] = r
	}
	return nil
}

// resultOf returns the result of an event if it has the source and id of an entry.
func resultOf(e, entry *event.Event, index uint64, leaf tree.Hash) (r Result, same bool) {
	switch {
	case entry.Source != e.Source || entry.ID != e.ID:
		return r, false // another (source, id) with the same key
	case string(entry.Received()) == string(e.Received()):
		return Result{Index: index, Leaf: leaf, Duplicate: true, By: entry.Sender}, true
	}
	return Result{Conflict: &ConflictError{Source: e.Source, ID: e.ID, Index: index, By: entry.Sender}}, true
}
