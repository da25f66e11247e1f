package sequencer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/storage"
)

// A gated is a real log that reads chunks from many places only when it is let.
type gated struct {
	storage.Log
	asked, let chan struct{}
	fail       error
}

func (g *gated) EachChunkOf(ctx context.Context, bundles []uint64, f func(storage.Chunk) error) error {
	g.asked <- struct{}{}
	<-g.let
	if g.fail != nil {
		return g.fail
	}
	return g.Log.EachChunkOf(ctx, bundles, f)
}

// TestReadingDuplicatesKeepsNobodyElseWaiting holds up the reading of the originals of
// some requests: others are answered meanwhile.
func TestReadingDuplicatesKeepsNobodyElseWaiting(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		g := &gated{Log: l, asked: make(chan struct{}, 100), let: make(chan struct{})}
		r := start(t, g)
		first := r.append(t, evs(t, 0, 3000)...)
		pick := rand.Perm(3000)
		held := make(chan []sequencer.Result)
		go func() {
			again := make([]event.Event, len(pick))
			for i, p := range pick {
				again[i] = evs(t, p, 1)[0]
			}
			results, err := r.Append(t.Context(), append(again, evs(t, 3000, 2)...))
			if err != nil {
				t.Error(err)
			}
			held <- results
		}()
		<-g.asked
		for i := range 100 {
			r.append(t, evs(t, 5000+10*i, 10)...)
		}
		close(g.let)
		results := <-held
		for i, p := range pick {
			want := first[p]
			want.Duplicate = true
			if results[i] != want {
				t.Fatalf("event %d, sent again, is answered with %+v, want %+v", p, results[i], want)
			}
		}
		if r := results[3000:]; r[0].Index != 4000 || r[1].Index != 4001 || r[0].Duplicate {
			t.Errorf("the new events behind the duplicates are answered with %+v", r)
		}
	})
}

// TestEventCommittedAfterItWasLookedUp has an event looked up while it is not committed
// yet, and built into a batch when it is.
func TestEventCommittedAfterItWasLookedUp(t *testing.T) {
	each(t, func(t *testing.T, stored storage.Log) {
		l := &faulty{Log: stored}
		r := start(t, l)
		r.append(t, evs(t, 0, 10)...)
		begun, release := make(chan struct{}), make(chan struct{})
		stall := func(ctx context.Context, l storage.Log, b storage.Batch) error {
			select {
			case begun <- struct{}{}:
				<-release
			default:
			}
			return l.Commit(ctx, b)
		}
		l.fault.Store(&stall)
		submit := func(e ...event.Event) *sequencer.Pending {
			p, err := r.Submit(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		original := submit(ev(t, "once", "x"), ev(t, "twice", "x"))
		<-begun
		again := submit(ev(t, "twice", "x"), ev(t, "once", "y"), ev(t, "once", "x"))
		close(release)
		<-original.Done()
		<-again.Done()
		want, err := original.Results()
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.Results()
		if err != nil {
			t.Fatal(err)
		}
		for i, original := range map[int]sequencer.Result{0: want[1], 2: want[0]} {
			original.Duplicate = true
			if got[i] != original {
				t.Errorf("event %d, sent again, is answered with %+v, want %+v", i, got[i], original)
			}
		}
		if c := got[1].Conflict; c == nil || c.Index != want[0].Index {
			t.Errorf("with other content it is answered with %+v", got[1])
		}
	})
}

// TestOriginalThatCannotBeRead: the request fails, and nothing else does.
func TestOriginalThatCannotBeRead(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		g := &gated{Log: l, asked: make(chan struct{}, 100), let: make(chan struct{}), fail: errInjected}
		close(g.let)
		r := start(t, g)
		r.append(t, evs(t, 0, 10)...)
		if _, err := r.Append(t.Context(), evs(t, 5, 10)); !errors.Is(err, errInjected) || errors.Is(err, sequencer.ErrUncertain) {
			t.Errorf("got %v, want the error of reading", err)
		}
		if res := r.append(t, evs(t, 20, 1)...); res[0].Index != 10 || r.Stats().Failures.Load() != 0 {
			t.Errorf("afterwards: %+v, after %d failures", res, r.Stats().Failures.Load())
		}
		g.fail = nil
		if res := r.append(t, evs(t, 5, 10)...); !res[0].Duplicate || res[9].Index != 15 {
			t.Errorf("sent again: %+v", res)
		}
	})
}
