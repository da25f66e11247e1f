// Package keyindex finds entries by a key: by what makes an event the same
// event, or by leaf hash. It is a follower: it can be dropped and built anew
// from the entries, and says how far it has come ([Index.End]).
//
// The index is log-structured. Keys of 40 bits are written in sorted, immutable
// runs over consecutive entries, [RunLength] at first; where eight runs of a
// length are adjacent they are merged into one, up to four million entries. A key
// takes 5.2 bytes with the entry it belongs to. What has no run yet is the
// tail: it is in the log itself, and whoever needs it in memory reads it from
// there. So nothing is written an entry at a time, and a crash loses nothing.
//
// Events are looked for with every append and are hardly ever there. Each of
// their runs has a filter in memory: 3.3 bytes a key, and one lookup in 45,000 goes
// to the database for nothing. Leaves are looked for seldom, and are mostly there:
// their runs have no filter.
//
// What always holds:
//   - runs are adjacent and cover the entries from 0 to End;
//   - [Index.Find] returns every entry with a key, and it may return others:
//     keys are hashes, so whoever asks compares the entries themselves.
//
// One goroutine may call Add while any number call the other methods.
package keyindex

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// The kinds of key.
const (
	Events = "event" // what makes two events the same: EventKey
	Leaves = "leaf"  // LeafKey
)

const (
	// RunLength is the number of entries in a run when it is first written.
	RunLength = 1 << 16

	// askDirectly is the number of keys up to which it is quicker to look for
	// them in a run than to read its filter first.
	askDirectly = 64

	fanOut       = 8       // adjacent runs of a length that are merged into one
	maxRunLength = 1 << 22 // entries; a run is merged in memory, at 16 bytes a pair

	// keyBits is the size of a key. In a log of a billion entries one new key in
	// a thousand is in the index by chance: fewer than its filters let through.
	keyBits = 40
)

// EventKey returns the key of the event that (source, id) identifies.
func EventKey(source, id string) uint64 {
	b := make([]byte, 0, 256)
	b = binary.BigEndian.AppendUint64(b, uint64(len(source)))
	b = append(b, source...)
	b = append(b, id...)
	return keyOf(sha256.Sum256(b))
}

// LeafKey returns the key of an entry with that leaf hash.
func LeafKey(h tree.Hash) uint64 { return keyOf(h) }

// keyOf returns the first bits of a hash.
func keyOf(h [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(h[:]) >> (64 - keyBits) }

// An Index is the key index of one kind over one log.
type Index struct {
	stored storage.Runs
	kind   string

	mu   sync.RWMutex
	runs []run // adjacent, from entry 0 on

	writing sync.Mutex // held until a run that is stored is in runs
	loading sync.Mutex // held while a filter is read
}

// Open reads what runs the index of a kind has. It returns [storage.ErrDamaged]
// if what is stored is no index.
func Open(ctx context.Context, stored storage.Runs, kind string) (*Index, error) {
	runs, err := stored.List(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("open %s index: %w", kind, err)
	}
	x := &Index{stored: stored, kind: kind}
	for _, s := range runs {
		if s.End <= x.End() {
			continue // written late, by a server that did not know it was merged already
		}
		if s.Start != x.End() {
			return nil, fmt.Errorf("open %s index: run of entries %d to %d: %w: want a run from entry %d on",
				kind, s.Start, s.End, storage.ErrDamaged, x.End())
		}
		x.runs = append(x.runs, run{start: s.Start, end: s.End})
	}
	return x, nil
}

// filtered reports whether runs of this kind have filters.
func (x *Index) filtered() bool { return x.kind == Events }

// End returns the index of the first entry that is not in the index.
func (x *Index) End() uint64 {
	runs := x.snapshot()
	if len(runs) == 0 {
		return 0
	}
	return runs[len(runs)-1].end
}

func (x *Index) snapshot() []run {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.runs
}

// Add writes the run of the RunLength entries from End on, of which keys are
// the keys. Before that it merges runs where eight are of a length. After an
// error End is what it was.
//
// If the index is a follower's, move is that of its cursor: whatever is written is
// written with it, and not if the cursor has been moved by another.
func (x *Index) Add(ctx context.Context, keys []uint64, move *storage.Move) error {
	if len(keys) != RunLength {
		return fmt.Errorf("add to %s index: %d keys, want %d", x.kind, len(keys), RunLength)
	}
	var stay *storage.Move
	if move != nil {
		stay = new(move.Stay())
	}
	for start, end, ok := x.mergeable(); ok; start, end, ok = x.mergeable() {
		if err := x.merge(ctx, start, end, stay); err != nil {
			return err
		}
	}
	pairs := make([]pair, len(keys))
	for i, key := range keys {
		pairs[i] = newPair(key, uint64(i))
	}
	slices.Sort(pairs)
	start := x.End()
	return x.write(ctx, start, start+RunLength, pairs, move)
}

// mergeable returns the range of the last eight runs, if they are of a length
// and make one that is not too long.
func (x *Index) mergeable() (start, end uint64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.runs) < fanOut {
		return 0, 0, false
	}
	last := x.runs[len(x.runs)-fanOut:]
	length := last[0].length()
	if length*fanOut > maxRunLength {
		return 0, 0, false
	}
	same := !slices.ContainsFunc(last, func(r run) bool { return r.length() != length })
	return last[0].start, last[fanOut-1].end, same
}

// merging holds a token while a merge is under way. One takes up to 100 MiB of
// memory, so those of all indexes of a process take turns.
var merging = make(chan struct{}, 1)

// merge replaces the runs within [start, end) by one.
func (x *Index) merge(ctx context.Context, start, end uint64, move *storage.Move) error {
	select {
	case merging <- struct{}{}:
		defer func() { <-merging }()
	case <-ctx.Done():
		return ctx.Err()
	}
	pairs := make([]pair, 0, end-start)
	for _, r := range x.runs {
		if r.start < start {
			continue
		}
		first := len(pairs)
		err := x.stored.EachPage(ctx, x.kind, r.start, func(p storage.Page) (err error) {
			pairs, err = appendPairs(pairs, p, r.length())
			return err
		})
		if err != nil {
			return fmt.Errorf("merge runs of %s index: %w", x.kind, err)
		}
		if n := uint64(len(pairs) - first); n != r.length() || !slices.IsSorted(pairs[first:]) {
			return fmt.Errorf("merge runs of %s index: %w: entries %d to %d have %d keys, or not in order",
				x.kind, storage.ErrDamaged, r.start, r.end-1, n)
		}
		for i := range pairs[first:] {
			pairs[first+i] += pair(r.start - start)
		}
	}
	mergeSorted(pairs, len(pairs)/fanOut)
	return x.write(ctx, start, end, pairs, move)
}

// mergeSorted sorts pairs that are sorted in pieces of a length.
func mergeSorted(pairs []pair, length int) {
	room := make([]pair, len(pairs)/2)
	for ; length < len(pairs); length *= 2 {
		for two := range slices.Chunk(pairs, 2*length) {
			mergeHalves(two, length, room)
		}
	}
}

// mergeHalves sorts pairs of which the first n are sorted, and the others. There
// is room for n.
func mergeHalves(pairs []pair, n int, room []pair) {
	left, right := room[:copy(room, pairs[:n])], pairs[n:]
	for i := 0; len(left) > 0; i++ {
		if len(right) > 0 && right[0] < left[0] {
			pairs[i], right = right[0], right[1:]
		} else {
			pairs[i], left = left[0], left[1:]
		}
	}
}

// write stores a run of sorted pairs over [start, end) in place of those within it.
func (x *Index) write(ctx context.Context, start, end uint64, pairs []pair, move *storage.Move) error {
	r := run{start: start, end: end}
	stored := storage.Run{Kind: x.kind, Start: start, End: end}
	if x.filtered() {
		filter := newFilter(pairs)
		stored.Filter = filter.encode()
		r.filter = x.hold(r, filter)
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	if err := x.stored.Replace(ctx, stored, pages(pairs), move); err != nil {
		return fmt.Errorf("write run of %s index: %w", x.kind, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	kept := slices.Clone(x.runs)
	kept = slices.DeleteFunc(kept, func(old run) bool { return old.start >= start })
	x.runs = append(kept, r)
	return nil
}
