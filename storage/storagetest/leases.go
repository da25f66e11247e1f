package storagetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stele-log/stele/storage"
)

// testLease: while a lease is held nobody else can lead the log, through the same
// store or another, and is told so at once. Asking does not disturb the holder. Once it
// is released, as often as one likes, Lost is closed and the next lease has a greater
// epoch; a release that comes late does not end the lease of the successor.
func testLease(t *testing.T, create Create) {
	open := create(t)
	s, other := openStore(t, open), openStore(t, open)
	l := newLog(t, s, "default")
	first := lead(t, l)
	if first.Epoch() != 1 {
		t.Errorf("the first epoch is %d, want 1", first.Epoch())
	}
	_, err := l.Lead(t.Context(), "http://here")
	wantError(t, "lead a log that is led", err, storage.ErrLeased)
	theirs, err := other.OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	_, err = theirs.Lead(t.Context(), "http://here")
	wantError(t, "lead a log that is led through another store", err, storage.ErrLeased)
	select {
	case <-first.Lost():
		t.Error("a lease that others asked for is lost")
	default:
	}

	first.Release()
	first.Release()
	wantLost(t, first)
	second := lead(t, theirs)
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d follows %d", second.Epoch(), first.Epoch())
	}
	first.Release()
	_, err = l.Lead(t.Context(), "http://here")
	wantError(t, "lead a log that is led by now", err, storage.ErrLeased)
}

// testLeaseEndsWithStore: closing a store gives its leases up, so that a server that
// stops in order need not be waited for. Epochs go on growing after it.
func testLeaseEndsWithStore(t *testing.T, create Create) {
	open := create(t)
	s := openStore(t, open)
	l := newLog(t, s, "default")
	lease := lead(t, l)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantLost(t, lease)
	l, err := openStore(t, open).OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if next := lead(t, l); next.Epoch() <= lease.Epoch() {
		t.Errorf("epoch %d follows %d", next.Epoch(), lease.Epoch())
	}
}

// testLeaseEachLog: a store can lead several logs, and their leases begin and end
// independently.
func testLeaseEachLog(t *testing.T, create Create) {
	s := newStore(t, create)
	one, two := newLog(t, s, "one"), newLog(t, s, "two")
	first, second := lead(t, one), lead(t, two)
	first.Release()
	wantLost(t, first)
	select {
	case <-second.Lost():
		t.Error("the lease of a log was lost with that of another")
	default:
	}
	_, err := two.Lead(t.Context(), "http://here")
	wantError(t, "lead the log that is still led", err, storage.ErrLeased)
	lead(t, one)
}

// testFence: a commit must carry the newest epoch of its log. Before the first lease no
// epoch is right; an older one, a greater one and 0 get ErrFenced. That comes before
// ErrStale: a sequencer that was replaced must stop, not read the head and try again.
func testFence(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	f := frontier(nil)
	for _, epoch := range []uint64{0, 1} {
		batch := Batch(t, epoch, f.Clone(), Entries(0, 1))
		if err := l.Commit(t.Context(), batch); err == nil {
			t.Fatalf("a commit of epoch %d was stored, though nobody leads", epoch)
		}
	}
	old := lead(t, l)
	commit(t, l, Batch(t, old.Epoch(), f, Entries(0, 300)))
	old.Release()
	lease := lead(t, l)
	for _, epoch := range []uint64{0, old.Epoch(), lease.Epoch() + 1, 1 << 40} {
		batch := Batch(t, epoch, f.Clone(), Entries(300, 1))
		wantError(t, "commit of another epoch", l.Commit(t.Context(), batch), storage.ErrFenced)
	}
	stale := Batch(t, old.Epoch(), frontier(Entries(0, 7)), Entries(7, 1))
	wantError(t, "commit of an old epoch on an old base", l.Commit(t.Context(), stale), storage.ErrFenced)
	commit(t, l, Batch(t, lease.Epoch(), f, Entries(300, 300)))
	Check(t, l)
}

// testFenceRace: once Lead has returned, no commit of an older epoch is stored, even one
// that was under way. So the head that the next holder finds stays the newest
// until it commits. Here a holder goes on committing after its lease is gone.
func testFenceRace(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	for range 10 {
		lease := lead(t, l)
		f := frontier(Check(t, l))
		// Made beforehand, as the goroutine may not fail the test.
		batches := make([]storage.Batch, 200)
		for i := range batches {
			batches[i] = Batch(t, lease.Epoch(), f, Entries(f.Size(), 3))
		}
		ended := make(chan error, 1)
		begun := make(chan struct{})
		go func() { ended <- commitAll(t.Context(), l, batches, begun) }()
		<-begun
		lease.Release()
		next := lead(t, l)
		f = frontier(Check(t, l))
		time.Sleep(2 * time.Millisecond)
		commit(t, l, Batch(t, next.Epoch(), f, Entries(f.Size(), 1)))
		next.Release()
		if err := <-ended; err != nil && !errors.Is(err, storage.ErrFenced) {
			t.Fatalf("the old holder's last commit: error %v, want %q", err, storage.ErrFenced)
		}
	}
	Check(t, l)
}

// commitAll commits one batch after the other until one fails. It closes begun at the
// fourth, so that the caller steps in while commits are under way.
func commitAll(ctx context.Context, l storage.Log, batches []storage.Batch, begun chan<- struct{}) error {
	for i, batch := range batches {
		if i == 3 {
			close(begun)
		}
		if err := l.Commit(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// wantLost fails the test unless the lease knows that it is lost.
func wantLost(t *testing.T, lease storage.Lease) {
	t.Helper()
	select {
	case <-lease.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the lease does not say that it is lost")
	}
}
