package engine_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// copyDir copies an engine's keys and records.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// eventually waits for something to come true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	t.Logf("waiting: %s", what) // should the test run into its time limit
	for !is() {
		time.Sleep(time.Millisecond)
	}
}

// shows reports whether a log's newest published checkpoint is of that size.
func shows(l *engine.Log, size uint64) func() bool {
	return func() bool {
		published, err := l.Publisher.Latest()
		return err == nil && published.Size == size
	}
}

func TestSecondServerFollowsAndTakesOver(t *testing.T) {
	t.Parallel()
	open, dir := dbtest.Postgres(t), t.TempDir()
	first := start(t, open(), dir)
	a := first.create(t, "one")
	leaves := leafindex.New()
	second := start(t, open(), copyDir(t, dir), leaves)
	b := second.get(t, "one")
	if b.Broken != nil || b.Sequencer.Leading() {
		t.Fatalf("the second writes to the log, or it is broken: %v", b.Broken)
	}
	for start := 0; start < 900; start += 300 {
		appendTo(t, a, start, 300)
		eventually(t, "the second shows what the first publishes", shows(b, uint64(start+300)))
		results, err := a.Sequencer.Append(t.Context(), events(t, start, 1))
		if err != nil {
			t.Fatal(err)
		}
		if i, err := leaves.Find(t.Context(), b.Reader, results[0].Leaf, uint64(start+300)); err != nil || i != uint64(start) {
			t.Errorf("the second finds the leaf of entry %d at %d, error %v", start, i, err)
		}
	}
	if _, err := b.Sequencer.Append(t.Context(), events(t, 900, 1)); !errors.Is(err, sequencer.ErrNotLeading) {
		t.Errorf("append to the second: error %v, want %q", err, sequencer.ErrNotLeading)
	}

	first.stop()
	eventually(t, "the second writes to the log", b.Sequencer.Leading)
	appendTo(t, b, 900, 100)
	results, err := b.Sequencer.Append(t.Context(), events(t, 0, 1))
	if err != nil || !results[0].Duplicate || results[0].Index != 0 {
		t.Errorf("what the first has stored is stored again: %+v, error %v", results, err)
	}
	checkLog(t, b, 1000)

	// And back again, with what was on record when the first stopped.
	third := start(t, open(), dir)
	second.stop()
	c := third.get(t, "one")
	eventually(t, "the first writes to the log again", c.Sequencer.Leading)
	appendTo(t, c, 1000, 1)
	checkLog(t, c, 1001)
}

// A deposable is a store whose leases can be ended, once and for all.
type deposable struct {
	storage.Store
	ended chan struct{}
}

func (s deposable) OpenLog(ctx context.Context, name string) (storage.Log, error) {
	l, err := s.Store.OpenLog(ctx, name)
	return deposableLog{l, s.ended}, err
}

type deposableLog struct {
	storage.Log
	ended chan struct{}
}

func (l deposableLog) Lead(ctx context.Context, holder string) (storage.Lease, error) {
	select {
	case <-l.ended:
		return nil, storage.ErrLeased
	default:
	}
	lease, err := l.Log.Lead(ctx, holder)
	return deposableLease{lease, l.ended}, err
}

type deposableLease struct {
	storage.Lease
	ended chan struct{}
}

func (l deposableLease) Lost() <-chan struct{} { return l.ended }

// TestServerThatLostItsLeaseDoesNotPublishTheOldHead has a server go on after
// another took over from it, and then stop.
func TestServerThatLostItsLeaseDoesNotPublishTheOldHead(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		store, dir := open(), t.TempDir()
		making := start(t, store, dir)
		making.create(t, "one")
		making.stop()

		depose := make(chan struct{})
		first := start(t, deposable{store, depose}, dir)
		a := first.get(t, "one")
		appendTo(t, a, 0, 10)
		second := start(t, store, copyDir(t, dir))
		b := second.get(t, "one")
		close(depose)
		eventually(t, "the second writes to the log", b.Sequencer.Leading)
		appendTo(t, b, 10, 10)
		eventually(t, "the first shows what the second publishes", shows(a, 20))

		// The first server shows the second's checkpoint.
		var wg sync.WaitGroup
		wg.Go(func() {
			if published, err := a.Publisher.Wait(t.Context(), 30); err != nil || published.Size != 30 {
				t.Errorf("the first waits for %v, error %v", published, err)
			}
		})
		time.Sleep(5 * interval)
		appendTo(t, b, 20, 10)
		wg.Wait()
		first.stop()
		if published, err := b.Publisher.Latest(); err != nil || published.Size != 30 {
			t.Errorf("published is %v, error %v", published, err)
		}
		appendTo(t, b, 30, 10)
		checkLog(t, b, 40)
	})
}
