package keyindex

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/stele-log/stele/storage"
)

// A Match is an entry that has one of the keys that Find was called with.
type Match struct {
	Key   int    // position of the key in that call
	Index uint64 // of the entry
}

// Find returns the entries that have one of the keys. It may be called while this
// process or another server adds and merges runs: if a run disappears, it starts
// again with the runs of now.
func (x *Index) Find(ctx context.Context, keys []uint64) ([]Match, error) {
	for {
		runs := x.snapshot()
		matches, err := x.find(ctx, runs, keys)
		if err == nil {
			return matches, nil
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return nil, fmt.Errorf("find in %s index: %w", x.kind, err)
		}
		x.writing.Lock()
		now := x.snapshot()
		x.writing.Unlock()
		if !slices.EqualFunc(runs, now, sameRun) {
			continue // Add has merged a run since
		}
		// Another server has merged it: read the list of runs again.
		end := x.End()
		if x, err = Open(ctx, x.stored, x.kind); err != nil {
			return nil, err
		}
		if x.End() < end {
			return nil, fmt.Errorf("find in %s index: %w: it ended at entry %d, now at %d",
				x.kind, storage.ErrDamaged, end, x.End())
		}
	}
}

// find looks the keys up in runs, those of one bank together. The error is
// [storage.ErrNotFound] if one of the runs has been replaced in the database.
func (x *Index) find(ctx context.Context, runs []run, keys []uint64) ([]Match, error) {
	if len(keys) > maxUnfiltered {
		var err error
		if runs, err = x.loaded(ctx, runs); err != nil {
			return nil, err
		}
	}
	var matches []Match
	var at [bankWidth][]int // by run: positions of the keys that it may have
	for len(runs) > 0 {
		n := inOneBank(runs)
		candidates(&at, runs[:n], keys)
		for i, r := range runs[:n] {
			if len(at[i]) == 0 {
				continue
			}
			var err error
			if matches, err = x.findIn(ctx, r, keys, at[i], matches); err != nil {
				return nil, err
			}
		}
		runs = runs[n:]
	}
	return matches, nil
}

// candidates sets at, by run, to the positions of the keys that the run may have
// according to its filter. The runs are in one bank, or there is one run without a
// filter, which may have all keys.
func candidates(at *[bankWidth][]int, runs []run, keys []uint64) {
	for i := range runs {
		at[i] = at[i][:0]
	}
	if runs[0].filter == nil {
		for k := range keys {
			at[0] = append(at[0], k)
		}
		return
	}
	for k, found := range runs[0].filter.bank.lookUp(keys, column(runs[0]), len(runs)) {
		for ; found != 0; found &= found - 1 {
			i := bits.TrailingZeros8(found)
			at[i] = append(at[i], k)
		}
	}
	for i, r := range runs {
		at[i] = slices.DeleteFunc(at[i], func(k int) bool { return !r.filter.lines.contain(keys[k]) })
	}
}

// findIn appends the matches in one run for the keys at the given positions.
func (x *Index) findIn(ctx context.Context, r run, keys []uint64, at []int, matches []Match) ([]Match, error) {
	asked := make([]uint64, len(at))
	for i, k := range at {
		asked[i] = keys[k]
	}
	pages, err := x.stored.Pages(ctx, x.storedRun(r), asked)
	if err != nil {
		return nil, err
	}
	for i, page := range pages {
		offsets, err := find(page, r.length(), asked[i])
		if err != nil {
			return nil, err
		}
		for _, offset := range offsets {
			matches = append(matches, Match{Key: at[i], Index: r.start + offset})
		}
	}
	return matches, nil
}
