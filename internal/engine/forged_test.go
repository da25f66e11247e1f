package engine_test

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// forge commits well-formed entries to a log as whoever owns the database can: in the
// newest epoch, without the lease, and without the key for heads. It returns the size of
// the head that they build on.
func forge(t *testing.T, l storage.Log, n int) (base uint64) {
	t.Helper()
	var f tree.Frontier // grows with the log, which may be quicker than to read all of it
	for {
		newest, err := l.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		chunks, err := storage.Chunks(t.Context(), l, f.Size(), newest.Size)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunks {
			entries, err := c.Entries()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries[f.Size()-c.Start:] {
				f.Append([]tree.Hash{tree.LeafHash(e)})
			}
		}
		err = l.Commit(t.Context(), storagetest.Batch(t, newest.Epoch, f.Clone(), storagetest.Entries(f.Size(), n)))
		if err == nil {
			return newest.Size
		}
		if !errors.Is(err, storage.ErrStale) {
			t.Fatal(err)
		}
	}
}

// stored opens a log as the database has it.
func stored(t *testing.T, store storage.Store, name string) storage.Log {
	t.Helper()
	l, err := store.OpenLog(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantUnsigned fails the test unless the log is not written to, nothing beyond a size is
// signed, and the head that was added is named.
func wantUnsigned(t *testing.T, l *engine.Log, size uint64) {
	t.Helper()
	for start := time.Now(); l.Sequencer.Leading(); time.Sleep(interval) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("the log is written to")
		}
	}
	time.Sleep(20 * interval) // for checkpoints that there must not be
	last, err := l.Stored.LastCheckpoint(t.Context())
	if err != nil || last.Size > size {
		t.Errorf("checkpoint of size %d, %v, is published; what was added begins at %d", last.Size, err, size)
	}
	if _, err := l.Sequencer.Append(t.Context(), events(t, 1_000_000, 1)); err == nil {
		t.Error("an event was stored on top of what was added")
	}
	if _, err := l.Stored.Head(t.Context()); !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "head.key") {
		t.Errorf("the head is not named: %v", err)
	}
}

func TestWhatTheDatabasesOwnerAddsAtRestIsNotSigned(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		dir, store := t.TempDir(), open()
		first := start(t, store, dir)
		appendTo(t, first.create(t, "one"), 0, 10)
		first.create(t, "empty")
		first.stop()
		forge(t, stored(t, store, "one"), 5)
		storagetest.Grow(t, stored(t, store, "empty"), 5)

		second := start(t, store, dir)
		wantUnsigned(t, second.get(t, "one"), 10)
		wantUnsigned(t, second.get(t, "empty"), 0)
	})
}

func TestWhatTheDatabasesOwnerAddsUnderLoadIsNotSigned(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		store := open()
		r := start(t, store, t.TempDir())
		l := r.create(t, "one")
		var acknowledged atomic.Uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i += 3 {
				results, err := l.Sequencer.Append(t.Context(), events(t, i, 3))
				if err != nil {
					return
				}
				acknowledged.Store(results[2].Index + 1)
				time.Sleep(time.Millisecond) // in which somebody else can commit
			}
		}()
		for acknowledged.Load() < 300 {
			time.Sleep(time.Millisecond)
		}
		base := forge(t, stored(t, store, "one"), 5)
		<-done
		wantUnsigned(t, l, base)
		if n := acknowledged.Load(); n > base {
			t.Errorf("%d entries were acknowledged; what was added begins at %d", n, base)
		}
	})
}

// TestLostHeadKeyIsNamed also has it put back.
func TestLostHeadKeyIsNamed(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		dir, store := t.TempDir(), open()
		first := start(t, store, dir)
		appendTo(t, first.create(t, "one"), 0, 10)
		first.stop()
		path := keyFile(dir, "one", "head.key")
		key := read(t, path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		second := start(t, store, dir)
		if broken := second.get(t, "one").Broken; broken == nil || !strings.Contains(broken.Error(), path+" is missing") {
			t.Errorf("without the key: %v", broken)
		}
		second.stop()
		write(t, path, "stele-head-mac/v1 oops")
		third := start(t, store, dir)
		if broken := third.get(t, "one").Broken; broken == nil || !strings.Contains(broken.Error(), path) || strings.Contains(broken.Error(), "oops") {
			t.Errorf("with a damaged key: %v", broken)
		}
		third.stop()
		write(t, path, key)
		fourth := start(t, store, dir)
		appendTo(t, fourth.get(t, "one"), 10, 1)
		checkLog(t, fourth.get(t, "one"), 11)
	})
}
