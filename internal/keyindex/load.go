package keyindex

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-log/stele/storage"
)

// LoadFilters reads the filters that are not in memory yet. [Index.Find] reads
// those it needs itself, which makes the first lookups slow. The error is
// [storage.ErrDamaged] if a filter is damaged; the others are read all the same.
func (x *Index) LoadFilters(ctx context.Context) error {
	var failed error
	for _, r := range x.snapshot() {
		if _, err := x.loadFilter(ctx, r); err != nil && !errors.Is(err, storage.ErrNotFound) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// loadFilter returns the filter of a run, or nil if runs of this kind have none. A
// damaged one is read once; its error is returned each time.
func (x *Index) loadFilter(ctx context.Context, r run) (*filter, error) {
	if r.isLoaded() || !x.filtered() {
		return r.filter, r.damaged
	}
	x.loading.Lock()
	defer x.loading.Unlock()
	for _, now := range x.snapshot() {
		if sameRun(now, r) && now.isLoaded() {
			return now.filter, now.damaged
		}
	}
	stored, err := x.stored.Filter(ctx, x.storedRun(r))
	if err == nil {
		r.filter, err = x.decode(r, stored)
	}
	if err != nil {
		err = fmt.Errorf("%s index: run of entries %d to %d: %w", x.kind, r.start, r.end, err)
		if !errors.Is(err, storage.ErrDamaged) {
			return nil, err
		}
		r.damaged = err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.runs = slices.Clone(x.runs)
	for i := range x.runs {
		if sameRun(x.runs[i], r) {
			x.runs[i] = r
		}
	}
	return r.filter, r.damaged
}

// decode returns the filter of a run from its stored form.
func (x *Index) decode(r run, b []byte) (*filter, error) {
	if !r.isAligned() {
		return nil, fmt.Errorf("%w: no run of this length begins there", storage.ErrDamaged)
	}
	stored, err := decodeFilter(b, int(r.length()))
	if err != nil {
		return nil, err
	}
	return x.hold(r, stored), nil
}

// hold puts the filter of a run into the bank that it shares with adjacent runs.
func (x *Index) hold(r run, stored *storedFilter) *filter {
	f := &filter{lines: stored.lines}
	for _, other := range x.snapshot() {
		if other.filter != nil && other.sharesBank(r) {
			f.bank = other.filter.bank
		}
	}
	if f.bank == nil {
		f.bank = &bank{rows: make([]row, len(stored.words))}
	}
	f.bank.put(column(r), stored.words)
	return f
}

// loaded returns the runs with their filters. Runs whose filter is damaged have
// none: they are then read for every key.
func (x *Index) loaded(ctx context.Context, runs []run) ([]run, error) {
	if !x.filtered() || !slices.ContainsFunc(runs, func(r run) bool { return !r.isLoaded() }) {
		return runs, nil
	}
	runs = slices.Clone(runs)
	for i, r := range runs {
		var err error
		if runs[i].filter, err = x.loadFilter(ctx, r); err != nil && !errors.Is(err, storage.ErrDamaged) {
			return nil, err
		}
	}
	return runs, nil
}
