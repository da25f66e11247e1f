package follow_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

var errInjected = errors.New("injected fault")

// TestMain makes what all decoding shares: made within a bubble of synctest, it could not
// be used outside.
func TestMain(m *testing.M) {
	chunk := storage.EncodeChunk(0, 1, []byte{0, 1, 'x'})
	if _, err := chunk.Decode(nil); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestBatchesComeInOrderWithoutGaps(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l, d := newLog(t, open), newDigest()
		r := run(t, l, d)
		for _, n := range []int{1, 8, 1, 250, 500, 9000, 3, 1} {
			head := storagetest.Grow(t, l, n)
			r.Committed(head)
			if head.Size >= d.step {
				waitFor(t, l, d, head.Size/d.step*d.step)
			}
		}
		r.stop()
		d.wantDigest(t, l, 9760)
		if starts := d.starts(); !slices.IsSorted(starts) || len(slices.Compact(starts)) != len(starts) {
			t.Errorf("batches began at %d, want each once and in order", starts)
		}
	})
}

func TestLargeStepIsOneBatch(t *testing.T) {
	t.Parallel()
	l, d := newLog(t, dbtest.SQLite(t)), newDigest()
	d.step = 6000
	r := run(t, l, d)
	r.Committed(storagetest.Grow(t, l, 17_999))
	waitFor(t, l, d, 12_000)
	r.Committed(storagetest.Grow(t, l, 1))
	waitFor(t, l, d, 18_000)
	r.stop()
	if n := d.wantDigest(t, l, 18_000); n != 3 {
		t.Errorf("%d batches, want 3", n)
	}
}

// A faulty is a log in which runs are stored by store.
type faulty struct {
	storage.Log
	store func(put func() error) error
}

func (l *faulty) Runs() storage.Runs { return faultyRuns{l.Log.Runs(), l} }

type faultyRuns struct {
	storage.Runs
	log *faulty
}

func (r faultyRuns) Replace(ctx context.Context, run storage.Run, pages iter.Seq[storage.Page], move *storage.Move) error {
	return r.log.store(func() error { return r.Runs.Replace(ctx, run, pages, move) })
}

// TestBatchComesAgainUnlessItWasStored has the database fail when the second batch
// is stored, and when it has been stored.
func TestBatchComesAgainUnlessItWasStored(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		for _, c := range []struct {
			name      string
			persisted bool
			want      []uint64 // where batches begin
			batches   float64  // that were applied, as far as the runner knows
		}{
			{"failed", false, []uint64{0, 10, 10, 20}, 3},
			{"failed but persisted", true, []uint64{0, 10, 20}, 2},
		} {
			stored := newLog(t, func() storage.Store { return renaming{open(), c.name} })
			d, puts := newDigest(), 0
			r := run(t, &faulty{stored, func(put func() error) error {
				puts++
				if puts != 2 {
					return put()
				}
				if c.persisted {
					if err := put(); err != nil {
						return err
					}
				}
				return errInjected
			}}, d)
			for next := uint64(10); next <= 30; next += 10 {
				r.Committed(storagetest.Grow(t, stored, 10))
				waitFor(t, stored, d, next)
			}
			for metricsOf(t, r)["stele_follower_lag_entries"] != 0 { // the runner may not know yet
				time.Sleep(time.Millisecond)
			}
			r.stop()
			d.wantDigest(t, stored, 30)
			if got := d.starts(); !slices.Equal(got, c.want) {
				t.Errorf("%s: batches began at %d, want %d", c.name, got, c.want)
			}
			wantMetrics(t, r, map[string]float64{"failures_total": 1, "batches_total": c.batches, "lag_entries": 0, "rebuilds_total": 1})
		}
	})
}

// A renaming is a store whose next log has another name.
type renaming struct {
	storage.Store
	name string
}

func (s renaming) CreateLog(ctx context.Context, _, origin string) (storage.Log, error) {
	return s.Store.CreateLog(ctx, s.name, origin+"/"+s.name)
}

// TestFollowerGoesOnAfterACrash ends a runner before the second batch is stored, and
// after.
func TestFollowerGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l, d := newLog(t, open), newDigest()
		head := storagetest.Grow(t, l, 10)
		begun := make(chan struct{})
		d.before = func(ctx context.Context, b follow.Batch) error {
			if b.Start == 10 {
				close(begun)
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		r := run(t, l, d)
		r.Committed(head)
		waitFor(t, l, d, 10)
		head = storagetest.Grow(t, l, 10)
		r.Committed(head)
		<-begun
		r.stop()

		again := newDigest()
		r = run(t, l, again)
		r.Committed(head)
		waitFor(t, l, again, 20)
		r.stop()
		again.wantDigest(t, l, 20)
		if got := slices.Concat(d.starts(), again.starts()); !slices.Equal(got, []uint64{0, 10, 10}) {
			t.Errorf("batches began at %d, want 0, 10, and 10 again", got)
		}
	})
}

// TestTwoServersStoreEachBatchOnce has both begin with the same batch.
func TestTwoServersStoreEachBatchOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		one := newLog(t, open)
		two, err := open().OpenLog(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		const size, step = 300 * 40, 300
		head := storagetest.Grow(t, one, size)
		var meet sync.WaitGroup
		meet.Add(2)
		first, second := newDigest(), newDigest()
		for _, d := range []*digest{first, second} {
			d.step = step
			arrive := sync.OnceFunc(func() { meet.Done(); meet.Wait() })
			d.before = func(context.Context, follow.Batch) error { arrive(); return nil }
		}
		a, b := run(t, one, first), run(t, two, second)
		a.Committed(head)
		b.Committed(head)
		waitFor(t, one, first, size)
		a.stop()
		b.stop()
		batches := first.wantDigest(t, one, size)
		_, storedA := first.counts()
		_, storedB := second.counts()
		if storedA+storedB != batches {
			t.Errorf("%d batches were stored, %d by one and %d by the other", batches, storedA, storedB)
		}
		if len(first.starts())+len(second.starts()) == batches {
			t.Error("neither has lost a batch to the other, so this shows nothing")
		}
	})
}

// TestServerThatWasOvertakenReadsNothing has a server wake when another has done what
// there was to do.
func TestServerThatWasOvertakenReadsNothing(t *testing.T) {
	t.Parallel()
	l := newLog(t, dbtest.SQLite(t))
	first, second := newDigest(), newDigest()
	a, b := run(t, l, first), run(t, l, second)
	for opened := 0; opened == 0; opened, _ = second.counts() {
		time.Sleep(time.Millisecond)
	}
	head := storagetest.Grow(t, l, 10)
	a.Committed(head)
	waitFor(t, l, first, 10)
	b.Committed(head)
	b.Committed(storagetest.Grow(t, l, 10))
	waitFor(t, l, second, 20)
	if got := second.starts(); !slices.Equal(got, []uint64{10}) {
		t.Errorf("the second has tried batches from %d, want that from 10 alone", got)
	}
}

func TestStateOfAnotherVersionIsBuiltAgain(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l := newLog(t, open)
		head := storagetest.Grow(t, l, 500)
		for _, version := range []int{3, 4, 2} {
			d := newDigest()
			d.version = version
			r := run(t, l, d)
			r.Committed(head)
			waitFor(t, l, d, 500)
			r.stop()
			d.wantDigest(t, l, 500)
			if got := d.starts(); got[0] != 0 {
				t.Errorf("version %d begins with entry %d", version, got[0])
			}
			wantMetrics(t, r, map[string]float64{"rebuilds_total": 1, "failures_total": 0})
		}
	})
}

// TestStateThatIsNotAtItsCursorIsBuiltAgain has a cursor that was moved without its
// state, and a state without its cursor.
func TestStateThatIsNotAtItsCursorIsBuiltAgain(t *testing.T) {
	t.Parallel()
	for _, at := range []uint64{10, 40} {
		l := newLog(t, dbtest.SQLite(t))
		head := storagetest.Grow(t, l, 30)
		d := newDigest()
		r := run(t, l, d)
		r.Committed(head)
		waitFor(t, l, d, 30)
		r.stop()
		if err := l.Cursors().Move(t.Context(), follow.Move(d, 30, at)); err != nil {
			t.Fatal(err)
		}
		again := newDigest()
		r = run(t, l, again)
		r.Committed(head)
		waitFor(t, l, again, 30)
		r.stop()
		again.wantDigest(t, l, 30)
		wantMetrics(t, r, map[string]float64{"rebuilds_total": 1, "failures_total": 1})
	}
}

// TestPauseGrowsWithEachError measures the time between attempts that fail, of which
// the tenth does not.
func TestPauseGrowsWithEachError(t *testing.T) {
	t.Parallel()
	l := newLog(t, dbtest.SQLite(t))
	storagetest.Grow(t, l, 20)
	synctest.Test(t, func(t *testing.T) {
		d := newDigest()
		var times []time.Time
		d.before = func(context.Context, follow.Batch) error {
			if times = append(times, time.Now()); len(times) == 10 {
				return nil
			}
			return errInjected
		}
		r := run(t, l, d)
		r.Committed(tree.Head{Size: 10})
		time.Sleep(time.Hour)
		r.Committed(tree.Head{Size: 20})
		time.Sleep(time.Minute)
		r.stop()
		if len(times) < 13 {
			t.Fatalf("%d attempts", len(times))
		}
		for i, longest := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
			8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute, time.Hour, 500 * time.Millisecond, time.Second} {
			if pause := times[i+1].Sub(times[i]); pause < longest/2 || pause > longest {
				t.Errorf("after attempt %d the pause is %v, want %v at most and half of it at least", i+1, pause, longest)
			}
		}
	})
}

// TestSlowFollowerDelaysNoOther has one follower that never ends its first batch.
func TestSlowFollowerDelaysNoOther(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l, slow, quick := newLog(t, open), newDigest(), newDigest()
		slow.name = "slow"
		begun := make(chan struct{})
		slow.before = func(ctx context.Context, _ follow.Batch) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		}
		r := run(t, l, slow, quick)
		for n := uint64(100); n <= 1000; n += 100 {
			r.Committed(storagetest.Grow(t, l, 100))
			waitFor(t, l, quick, n)
		}
		<-begun
		r.stop()
		quick.wantDigest(t, l, 1000)
		slow.wantDigest(t, l, 0)
	})
}

func TestFollowerSeesWhatItsScopeSays(t *testing.T) {
	t.Parallel()
	l, committed, published := newLog(t, dbtest.SQLite(t)), newDigest(), newDigest()
	published.name, published.scope = "published", follow.Published
	r := run(t, l, committed, published)
	small := storagetest.Grow(t, l, 100)
	large := storagetest.Grow(t, l, 100)
	r.Committed(large)
	r.Published(small)
	r.Published(tree.Head{Size: 50}) // told late
	waitFor(t, l, committed, 200)
	waitFor(t, l, published, 100)
	r.Published(large)
	waitFor(t, l, published, 200)
	r.stop()
	published.wantDigest(t, l, 200)
}

// wantMetrics compares metrics of the only follower, without their prefix.
// metricsOf returns the values of the runner's metrics.
func metricsOf(t *testing.T, r *running) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.Runner)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			got[f.GetName()] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return got
}

func wantMetrics(t *testing.T, r *running, want map[string]float64) {
	t.Helper()
	got := metricsOf(t, r)
	for name, value := range want {
		if v, ok := got["stele_follower_"+name]; !ok || v != value {
			t.Errorf("%s is %v, want %v", name, v, value)
		}
	}
}
