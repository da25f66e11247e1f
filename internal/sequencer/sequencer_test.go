package sequencer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

func TestEventsGetTheNextIndexesInOrder(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		next := uint64(0)
		for _, n := range []int{1, 2, 253, 1, 255, 256, 257, 1000, 5000} {
			for i, res := range r.append(t, evs(t, int(next), n)...) {
				if res.Index != next || res.Duplicate || res.Conflict != nil {
					t.Fatalf("event %d of %d: got %+v, want index %d", i, n, res, next)
				}
				next++
			}
		}
		head, err := l.Head(t.Context())
		if err != nil || head.Size != next {
			t.Fatalf("head is %v, %v, want size %d", head, err, next)
		}
	})
}

func TestResultHasTheLeafHashOfTheEntry(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		results := append(r.append(t, evs(t, 0, 300)...), r.append(t, evs(t, 0, 300)...)...)
		reader := storage.NewReader(l, storage.NewCache(0))
		for _, res := range results {
			entry, err := reader.ReadEntry(t.Context(), res.Index)
			if err != nil {
				t.Fatal(err)
			}
			if res.Leaf != tree.LeafHash(entry) {
				t.Fatalf("entry %d: result has leaf hash %s", res.Index, res.Leaf)
			}
		}
	})
}

func TestRecordedTimeNeverGoesBack(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		clock := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
		r := start(t, l, func(c *sequencer.Config) {
			c.Now = func() time.Time { clock = clock.Add(-time.Hour); return clock }
		})
		for i := range 3 {
			r.append(t, ev(t, fmt.Sprint(i), ""))
		}
		reader := storage.NewReader(l, storage.NewCache(0))
		for i := range uint64(3) {
			entry, err := reader.ReadEntry(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Decode(entry)
			if want := time.Date(2026, 1, 2, 2, 4, 5, 6000, time.UTC); err != nil || !e.Recorded.Equal(want) {
				t.Errorf("entry %d was recorded at %v, %v, want %v", i, e.Recorded, err, want)
			}
		}
	})
}

func TestDuplicatesGetTheOriginalIndex(t *testing.T) {
	// Where the original is when the duplicate comes.
	steps := []struct {
		name   string
		before func(t *testing.T, r *running) *running
	}{
		{"committed", func(_ *testing.T, r *running) *running { return r }},
		{"read after a restart", func(t *testing.T, r *running) *running {
			r.stop()
			return start(t, r.log)
		}},
		{"in the key index", func(t *testing.T, r *running) *running {
			for i := 1000; i < 1000+keyindex.RunLength; i += 8192 {
				r.append(t, evs(t, i, 8192)...)
			}
			waitForRun(t, r.log)
			return r
		}},
		{"in the key index after a restart", func(t *testing.T, r *running) *running {
			r.stop()
			return start(t, r.log)
		}},
	}
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		r.append(t, evs(t, 0, 600)...)
		for _, step := range steps {
			r = step.before(t, r)
			for i, res := range r.append(t, evs(t, 0, 600)...) {
				if res.Index != uint64(i) || !res.Duplicate || res.Leaf == (tree.Hash{}) {
					t.Fatalf("%s: event %d: got %+v", step.name, i, res)
				}
			}
			conflict := r.append(t, ev(t, "17", "other content"))[0].Conflict
			if conflict == nil || conflict.Index != 17 || conflict.ID != "17" {
				t.Fatalf("%s: other content under id 17: got conflict %v", step.name, conflict)
			}
			added := r.append(t, ev(t, "new "+step.name, ""))[0]
			if added.Duplicate || added.Conflict != nil {
				t.Fatalf("%s: a new event: got %+v", step.name, added)
			}
		}
	})
}

// waitForRun waits until the key index has a run.
func waitForRun(t *testing.T, l storage.Log) {
	t.Helper()
	for {
		x, err := keyindex.Open(t.Context(), l.Runs(), keyindex.Events)
		if err != nil {
			t.Fatal(err)
		}
		if x.End() >= keyindex.RunLength {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestDuplicatesWithinABatch(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		results := r.append(t, ev(t, "a", "1"), ev(t, "b", "1"), ev(t, "a", "1"), ev(t, "b", "2"), ev(t, "c", "1"))
		want := []sequencer.Result{
			{Index: 0, Leaf: results[0].Leaf},
			{Index: 1, Leaf: results[1].Leaf},
			{Index: 0, Leaf: results[0].Leaf, Duplicate: true},
			{Conflict: &sequencer.ConflictError{Source: "test", ID: "b", Index: 1}},
			{Index: 2, Leaf: results[4].Leaf},
		}
		for i := range want {
			got := results[i]
			if (got.Conflict == nil) != (want[i].Conflict == nil) ||
				got.Conflict != nil && *got.Conflict != *want[i].Conflict {
				t.Errorf("event %d: got conflict %v, want %v", i, got.Conflict, want[i].Conflict)
			}
			got.Conflict, want[i].Conflict = nil, nil
			if got != want[i] {
				t.Errorf("event %d: got %+v, want %+v", i, got, want[i])
			}
		}
	})
}

func TestConcurrentWritersOfTheSameEventsAgree(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		const writers, ids = 32, 500
		got := make([][]uint64, writers) // by writer: index by id
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				got[w] = make([]uint64, ids)
				order := rand.New(rand.NewPCG(uint64(w), 0)).Perm(ids)
				for part := range slices.Chunk(order, 25) {
					events := make([]event.Event, len(part))
					for i, id := range part {
						events[i] = ev(t, fmt.Sprint(id), "x")
					}
					results, err := r.Append(t.Context(), events)
					if err != nil {
						t.Error(err)
						return
					}
					for i, id := range part {
						got[w][id] = results[i].Index
					}
				}
			})
		}
		wg.Wait()
		for w := range writers {
			if !slices.Equal(got[w], got[0]) {
				t.Fatalf("writer %d has other indexes than writer 0", w)
			}
		}
		if head, err := l.Head(t.Context()); err != nil || head.Size != ids {
			t.Fatalf("head is %v, %v, want size %d", head, err, ids)
		}
	})
}

func TestStoppingCommitsWhatWasAccepted(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_, err := r.Append(t.Context(), evs(t, i*10, 10))
				if err != nil && !errors.Is(err, sequencer.ErrNotLeading) {
					t.Error(err)
				}
			})
		}
		r.stop()
		wg.Wait()
		if _, err := r.Append(t.Context(), evs(t, 0, 1)); !errors.Is(err, sequencer.ErrNotLeading) {
			t.Errorf("after the stop: got %v, want ErrNotLeading", err)
		}
	})
}

func TestOneOfTwoSequencersLeads(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		first := start(t, l)
		first.append(t, evs(t, 0, 10)...)
		second := sequencer.New(sequencer.Config{
			Log: l, Reader: storage.NewReader(l, storage.NewCache(0)), Logger: discard, Now: time.Now,
			Prove: proven, Committed: func(tree.Head) {},
		})
		done := make(chan struct{})
		go func() { defer close(done); second.Run(t.Context()) }()
		if _, err := second.Append(t.Context(), evs(t, 0, 1)); !errors.Is(err, sequencer.ErrNotLeading) {
			t.Fatalf("the second one accepts events: %v", err)
		}
		first.stop()
		(&running{Sequencer: second}).waitLeading(t)
		results, err := second.Append(t.Context(), evs(t, 5, 10))
		if err != nil || results[0].Index != 5 || !results[0].Duplicate ||
			results[9].Index != 14 || results[9].Duplicate {
			t.Fatalf("the second one took over: got %+v, %v", results, err)
		}
	})
}
