package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/restore"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestRolledBackLogTakesNoEventsUntilItIsRestored has a server find its database as
// it was before, and then restores the log in place: nothing was written that is not in
// the copy.
func TestRolledBackLogTakesNoEventsUntilItIsRestored(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		dir := t.TempDir()
		first := start(t, dbtest.SQLite(t)(), dir)
		whole := first.create(t, "one")
		appendTo(t, whole, 0, 100)
		appendTo(t, whole, 100, 200)
		first.stop()

		store := open()
		rollBack(t, whole, store, dir, 100)
		second := start(t, store, dir)
		l := second.get(t, "one")
		_, err := l.Sequencer.Append(t.Context(), events(t, 300, 1))
		if refused, ok := errors.AsType[*publisher.RefusalError](err); !ok || refused != l.Publisher.Refusal() {
			t.Errorf("append: %v, want %v", err, l.Publisher.Refusal())
		}
		if head, err := l.Stored.Head(t.Context()); err != nil || head.Size != 100 || l.Sequencer.Leading() {
			t.Errorf("the log has %v, %v, and is written to: %t", head, err, l.Sequencer.Leading())
		}
		second.stop()

		p, err := policy.ForLog(whole.VKeys...)
		if err != nil {
			t.Fatal(err)
		}
		restored, err := restore.Run(t.Context(), restore.Config{
			Copy: whole.Reader, Policy: p, Keys: []note.Verifier{verifier(t, whole.VKeys[0])}, Store: store, Name: "one",
			Record: engine.RecordOf(dir, "one"), Now: time.Now, Progress: func(string, uint64, uint64) {},
			OpenHeads: openHeads(dir),
		})
		if err != nil || restored.Added != 200 {
			t.Fatalf("%d entries were restored, %v", restored.Added, err)
		}
		third := start(t, store, dir)
		appendTo(t, third.get(t, "one"), 300, 1)
		checkLog(t, third.get(t, "one"), 301)
	})
}

// openHeads opens logs with their keys in a folder.
func openHeads(dir string) func(context.Context, storage.Log) (storage.Log, error) {
	return func(ctx context.Context, l storage.Log) (storage.Log, error) { return engine.OpenHeads(ctx, dir, l) }
}

// rollBack makes the log in another store as it was when it had size entries.
func rollBack(t *testing.T, whole *engine.Log, store storage.Store, dir string, size uint64) {
	t.Helper()
	var entries [][]byte
	for i := range size {
		e, err := whole.Reader.ReadEntry(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	l, err := store.CreateLog(t.Context(), whole.Name, whole.Origin)
	if err == nil {
		l, err = openHeads(dir)(t.Context(), l)
	}
	if err != nil {
		t.Fatal(err)
	}
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	var f tree.Frontier
	if err := l.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), &f, entries)); err != nil {
		t.Fatal(err)
	}
	history, err := whole.Stored.Checkpoints(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range history {
		if c.Size > size {
			return
		}
		if err := l.AddCheckpoint(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}
