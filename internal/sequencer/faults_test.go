package sequencer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

var discard = slog.New(slog.DiscardHandler)

var errInjected = errors.New("injected fault")

// A faulty is a real log, some of whose commits fail.
type faulty struct {
	storage.Log
	fault atomic.Pointer[func(ctx context.Context, l storage.Log, b storage.Batch) error]
}

func (f *faulty) Commit(ctx context.Context, b storage.Batch) error {
	if fault := f.fault.Load(); fault != nil {
		return (*fault)(ctx, f.Log, b)
	}
	return f.Log.Commit(ctx, b)
}

func TestFailedCommits(t *testing.T) {
	faults := []struct {
		name  string
		fault func(ctx context.Context, l storage.Log, b storage.Batch) error
		kept  bool // the events are in the log afterwards
	}{
		{"failed", func(context.Context, storage.Log, storage.Batch) error { return errInjected }, false},
		{"failed but persisted", func(ctx context.Context, l storage.Log, b storage.Batch) error {
			if err := l.Commit(ctx, b); err != nil {
				return err
			}
			return errInjected
		}, true},
		{"cut off half way", func(ctx context.Context, l storage.Log, b storage.Batch) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return errors.Join(errInjected, l.Commit(ctx, b))
		}, false},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			each(t, func(t *testing.T, l storage.Log) {
				flaky := &faulty{Log: l}
				r := start(t, flaky)
				r.append(t, evs(t, 0, 300)...)

				var once atomic.Bool
				fault := func(ctx context.Context, l storage.Log, b storage.Batch) error {
					if once.CompareAndSwap(false, true) {
						return f.fault(ctx, l, b)
					}
					return l.Commit(ctx, b)
				}
				flaky.fault.Store(&fault)
				if _, err := r.Append(t.Context(), evs(t, 300, 10)); !errors.Is(err, sequencer.ErrUncertain) {
					t.Fatalf("got %v, want ErrUncertain", err)
				}
				// It reads the log again and goes on by itself; a retry finds
				// what was stored.
				results := retry(t, r, 300, 10)
				for i, res := range results {
					if res.Index != uint64(300+i) || res.Duplicate != f.kept {
						t.Fatalf("retried event %d: got %+v, want duplicate %v", i, res, f.kept)
					}
				}
			})
		})
	}
}

// retry appends events again and again until they are taken, as a client does.
func retry(t *testing.T, r *running, first, n int) []sequencer.Result {
	t.Helper()
	for {
		results, err := r.Append(t.Context(), evs(t, first, n))
		if err == nil {
			return results
		}
		if !errors.Is(err, sequencer.ErrUncertain) && !errors.Is(err, sequencer.ErrNotLeading) {
			t.Fatal(err)
		}
		r.waitLeading(t)
	}
}

func TestWritersSurviveRandomFaults(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		flaky := &faulty{Log: l}
		var n atomic.Int64
		fault := func(ctx context.Context, l storage.Log, b storage.Batch) error {
			switch n.Add(1) % 10 {
			case 3:
				return errInjected
			case 7:
				return errors.Join(l.Commit(ctx, b), errInjected)
			}
			return l.Commit(ctx, b)
		}
		flaky.fault.Store(&fault)
		r := start(t, flaky)
		const writers, each = 8, 10
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					retry(t, r, (w*each+i)*7, 7)
				}
			})
		}
		wg.Wait()
		if head, err := l.Head(t.Context()); err != nil || head.Size != writers*each*7 {
			t.Fatalf("head is %v, %v, want %d entries", head, err, writers*each*7)
		}
	})
}

func TestFullQueuePushesBack(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		slow := &faulty{Log: l}
		release := make(chan struct{})
		block := func(ctx context.Context, l storage.Log, b storage.Batch) error {
			<-release
			return l.Commit(ctx, b)
		}
		slow.fault.Store(&block)
		r := start(t, slow, func(c *sequencer.Config) { c.MaxQueue = 2000 })

		var wg sync.WaitGroup
		var stored, busy atomic.Int64
		for i := range 6000 {
			wg.Go(func() {
				_, err := r.Append(t.Context(), evs(t, i, 1))
				switch {
				case err == nil:
					stored.Add(1)
				case errors.Is(err, sequencer.ErrBusy):
					busy.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		for busy.Load() == 0 {
			runtime.Gosched()
		}
		close(release)
		wg.Wait()
		if head, err := l.Head(t.Context()); err != nil || head.Size != uint64(stored.Load()) {
			t.Fatalf("head is %v, %v, want the %d events that were taken", head, err, stored.Load())
		}
	})
}

func TestDamagedFrontierIsNotWrittenTo(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := start(t, l)
		r.append(t, evs(t, 0, 300)...)
		r.stop()
		damaged := &lying{Log: l}
		s := sequencer.New(sequencer.Config{
			Log: damaged, Reader: storage.NewReader(damaged, storage.NewCache(0)), Logger: discard,
			Now: nil, Prove: proven, Committed: nil,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		for s.Stats().Failures.Load() == 0 {
			if s.Leading() {
				t.Fatal("the sequencer writes to a damaged log")
			}
		}
		cancel()
		<-done
	})
}

// A lying is a log whose newest chunk does not have the entries that its head covers.
type lying struct{ storage.Log }

func (l *lying) EachChunk(ctx context.Context, start, end uint64, f func(storage.Chunk) error) error {
	return l.Log.EachChunk(ctx, start, end, func(c storage.Chunk) error {
		bundle, err := c.Decode(nil)
		if err != nil {
			return err
		}
		bundle[bytes.Index(bundle, []byte(`"data":"x"`))+len(`"data":"`)] = 'y'
		return f(storage.EncodeChunk(c.Start, c.Count, bundle))
	})
}

// TestFewEventsWaitForTheCommitUnderWay has single events come while a commit is
// under way: they are committed together after it.
func TestFewEventsWaitForTheCommitUnderWay(t *testing.T) {
	each(t, func(t *testing.T, stored storage.Log) {
		l := &faulty{Log: stored}
		r := start(t, l)
		begun, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		stall := func(ctx context.Context, l storage.Log, b storage.Batch) error {
			once.Do(func() { close(begun); <-release })
			return l.Commit(ctx, b)
		}
		l.fault.Store(&stall)
		const few = 20
		events := evs(t, 0, few+1)
		var wg sync.WaitGroup
		wg.Go(func() { r.append(t, events[0]) })
		<-begun
		bytes := 0
		for _, e := range events[1:] {
			bytes += e.EntrySize()
			wg.Go(func() { r.append(t, e) })
		}
		// One that was built ahead would not be in the queue; then this gives up.
		for range 6000 {
			if r.QueuedBytes() == bytes {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		close(release)
		wg.Wait()
		if got := r.Stats().Commits.Load(); got != 2 {
			t.Errorf("1 and then %d events were stored with %d commits, want 2", few, got)
		}
	})
}

var errDoubted = errors.New("this is not what was signed")

func TestNothingIsWrittenBeforeTheStoredHeadIsProven(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		first := start(t, l)
		first.append(t, evs(t, 0, 10)...)
		first.stop()
		want, err := l.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		var s *sequencer.Sequencer
		s = sequencer.New(sequencer.Config{
			Log: l, Reader: storage.NewReader(l, storage.NewCache(0)), Logger: discard, Now: time.Now,
			Prove: func(ctx context.Context, head tree.Head) error {
				if head != want.Head || s.Leading() {
					t.Errorf("asked to prove %v, want %v; leading: %t", head, want, s.Leading())
				}
				if asked.Add(1) == 1 {
					return errInjected // and it is tried again
				}
				return nil
			},
			Committed: func(tree.Head) {},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		<-s.Settled()
		if _, err := s.Append(ctx, evs(t, 10, 1)); !errors.Is(err, sequencer.ErrNotLeading) {
			t.Errorf("before the proof: %v", err)
		}
		(&running{Sequencer: s}).waitLeading(t)
		if results, err := s.Append(ctx, evs(t, 10, 1)); err != nil || results[0].Index != 10 || asked.Load() != 2 {
			t.Errorf("after %d proofs: %v, %v", asked.Load(), results, err)
		}
		cancel()
		<-done
	})
}

func TestRefusedLogIsNotWrittenToAndFreeForOthers(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		blocked := &faulty{Log: l}
		r := start(t, blocked)
		r.append(t, evs(t, 0, 10)...)
		begun, release := make(chan struct{}), make(chan struct{})
		block := func(ctx context.Context, l storage.Log, b storage.Batch) error {
			close(begun)
			<-release
			return l.Commit(ctx, b)
		}
		blocked.fault.Store(&block)
		var wg sync.WaitGroup
		wg.Go(func() {
			// This one's commit is under way when the log is refused.
			if _, err := r.Append(t.Context(), evs(t, 10, 1)); !errors.Is(err, sequencer.ErrUncertain) || errors.Is(err, errDoubted) {
				t.Errorf("under way: %v, want ErrUncertain", err)
			}
		})
		<-begun
		for i := range 700 { // some are built ahead, some wait
			wg.Go(func() {
				_, err := r.Append(t.Context(), evs(t, 11+i, 1))
				if !errors.Is(err, errDoubted) && !errors.Is(err, sequencer.ErrUncertain) {
					t.Errorf("waiting: %v, want the reason", err)
				}
			})
		}
		for r.QueuedBytes() == 0 {
			runtime.Gosched()
		}
		r.Refuse(errDoubted)
		r.Refuse(errInjected)
		if _, err := r.Append(t.Context(), evs(t, 0, 1)); !errors.Is(err, errDoubted) {
			t.Errorf("a duplicate is answered with %v, want the reason", err)
		}
		close(release)
		wg.Wait()
		if r.Leading() {
			t.Error("it leads")
		}
		if head, err := l.Head(t.Context()); err != nil || head.Size > 11 {
			t.Errorf("head is %v, %v: something was stored after the refusal", head, err)
		}
		// Another server, which may know better, can have the lease.
		start(t, l).append(t, evs(t, 10, 1)...)
		if r.Leading() {
			t.Error("it leads again")
		}
	})
}
