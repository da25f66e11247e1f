// Package keyindex finds entries by a key of 40 bits: a keyed hash of an event's source
// and id, or the beginning of a leaf hash. An index holds nothing that is not in
// the log: it can be dropped and built again from the entries, and [Index.End] is
// how far it reaches.
//
// The index is log-structured. Keys are written in sorted, immutable runs over
// consecutive entries, [RunLength] at first. Eight adjacent runs of one length are
// merged into one, up to four million entries. A key with its entry takes 5.2
// bytes. Entries after the last run are the tail, which the caller reads from the
// log and keeps in memory if it needs it. So no write is as small as one entry,
// and a crash loses nothing.
//
// A lookup goes through all runs: the filters in memory name the runs that may
// have a key (bank.go, filter.go), and one page of each of those is read from the
// database (find.go, page.go). Events are looked up with every append and are
// hardly ever found, so their runs have filters, of 3.3 bytes a key; one lookup in
// 45,000 reads a page for nothing. Leaves are looked up rarely and mostly found,
// so their runs have none.
//
// What always holds:
//   - runs are adjacent and cover the entries from 0 to End;
//   - [Index.Find] returns every entry with a key, and may return others, since
//     different events can have one key: the caller compares the entries.
//
// One goroutine may call Add while any number call the other methods.
package keyindex

import (
	"context"
	"crypto/rand"
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
	Events = "keyed event" // keys are EventKeys
	Leaves = "leaf"        // keys are LeafKeys
)

const (
	// RunLength is the number of entries in a run when it is first written.
	RunLength = 1 << 16

	// maxUnfiltered is the number of keys up to which reading their pages is
	// quicker than reading the filter of a run first.
	maxUnfiltered = 64

	fanOut       = 8       // adjacent runs of one length that are merged into one
	maxRunLength = 1 << 22 // entries; a merge is in memory, at 16 bytes an entry

	// keyBits is the size of a key. In a log of a billion entries one new key in
	// a thousand is in the index by chance: fewer than pass its filters.
	keyBits = 40
)

// ReadSecret returns the secret of a log's EventKeys. The first call for a log makes
// it, and removes what there is of the index of events: open that after.
func ReadSecret(ctx context.Context, stored storage.Runs) (storage.Secret, error) {
	var proposed storage.Secret
	_, _ = rand.Read(proposed[:]) // never fails
	return stored.Secret(ctx, Events, proposed)
}

// EventKey returns the key of the event that (source, id) identifies, in the log that
// has the secret. Without the secret nobody can find events with one key, and so have
// the sequencer compare each of them with all the others.
func EventKey(secret storage.Secret, source, id string) uint64 {
	b := make([]byte, 0, 256)
	b = append(b, secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(source)))
	b = append(b, source...)
	b = append(b, id...)
	return keyOf(sha256.Sum256(b))
}

// LeafKey returns the key of the entries with a leaf hash.
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

// Open reads the list of runs of the index of a kind, and none of their keys. The
// error is [storage.ErrDamaged] if they do not cover consecutive entries.
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

// storedRun is how a run is named in the database.
func (x *Index) storedRun(r run) storage.Run {
	return storage.Run{Kind: x.kind, Start: r.start, End: r.end}
}

func (x *Index) snapshot() []run {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.runs
}

// Add writes a run with the keys of the RunLength entries from End on, in the
// order of the entries. Before that it merges the last eight runs if they are of
// one length. After an error End is unchanged, and Add may be called again.
//
// If the index is a follower's, move is that of its cursor. The cursor moves in the
// transaction that writes the run, and neither a merge nor the run is written if
// another server has moved the cursor before.
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

// mergeable returns the range of the last eight runs, if they are of one length
// and together not longer than maxRunLength.
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

// merging holds a token while a merge is under way. A merge needs up to 100 MiB of
// memory, so all indexes of a process take turns.
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
		err := x.stored.EachPage(ctx, x.storedRun(r), func(p storage.Page) (err error) {
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

// mergeSorted sorts pairs of which each piece of that length is sorted.
func mergeSorted(pairs []pair, length int) {
	room := make([]pair, len(pairs)/2)
	for ; length < len(pairs); length *= 2 {
		for two := range slices.Chunk(pairs, 2*length) {
			mergeHalves(two, length, room)
		}
	}
}

// mergeHalves sorts pairs whose first n are sorted and whose others are sorted. It
// overwrites room, which holds n.
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
