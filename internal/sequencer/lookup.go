package sequencer

import (
	"context"

	"github.com/stele-log/stele/pkg/event"
)

// This file looks for a request's events among the committed entries before the
// request is queued, in the goroutine of its caller. Entries never change, so what is
// found stays true; the builder has only to look at what is committed after. So a
// request of many duplicates, each to be read from another place, keeps nobody waiting
// but itself.

const (
	// fewEvents is up to how many events are looked for at once, whoever else does.
	fewEvents = 16

	// keysAtOnce and candidatesAtOnce bound what a larger request does before it is
	// another's turn.
	keysAtOnce       = 512
	candidatesAtOnce = 512
)

// A lookup is what the log was found to have of a request's events.
type lookup struct {
	end   uint64         // entries below it were looked at
	found map[int]Result // by event, of those that are among them
}

// look looks for events, which have those keys, among the entries that are committed.
func (d *dedup) look(ctx context.Context, events []event.Event, keys []uint64) (l lookup, err error) {
	l.end = d.committedSize()
	var candidates []candidate
	for at := 0; at < len(keys) && err == nil; at += keysAtOnce {
		piece := keys[at:min(at+keysAtOnce, len(keys))]
		err = d.inTurn(ctx, len(events), func() (err error) {
			candidates, err = d.candidates(ctx, piece, at, candidates)
			return err
		})
	}
	if err != nil || len(candidates) == 0 {
		return l, err
	}
	l.found = make(map[int]Result, len(candidates))
	candidates = sorted(candidates)
	for at := 0; at < len(candidates) && err == nil; at += candidatesAtOnce {
		piece := candidates[at:min(at+candidatesAtOnce, len(candidates))]
		err = d.inTurn(ctx, len(events), func() error {
			return d.originals.compare(ctx, piece, func(i int) *event.Event { return &events[i] }, l.found)
		})
	}
	return l, err
}

// inTurn calls f. Of requests of many events one at a time is served.
func (d *dedup) inTurn(ctx context.Context, events int, f func() error) error {
	if events <= fewEvents {
		return f()
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// candidates appends the committed entries that have one of the keys, whose first is
// that of the event at a position. Memory is looked at before the index, so that an
// entry that moves from one to the other meanwhile is found in both, not in neither.
func (d *dedup) candidates(ctx context.Context, keys []uint64, first int, all []candidate) ([]candidate, error) {
	d.mu.Lock()
	var entries []uint64
	for _, s := range d.segments {
		for i, key := range keys {
			entries = s.find(entries[:0], key)
			for _, entry := range entries {
				if entry < d.durable {
					all = append(all, candidate{entry, first + i})
				}
			}
		}
	}
	d.mu.Unlock()
	matches, err := d.index.Find(ctx, keys)
	for _, m := range matches {
		all = append(all, candidate{m.Index, first + m.Key})
	}
	return all, err
}

// committedSize returns the size of the newest committed head.
func (d *dedup) committedSize() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable
}
