package restore_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/restore"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// written returns a log that a sequencer has written, with n events of size bytes
// in one batch, and its checkpoint.
func written(t *testing.T, signer *memlog.Log, n, size int) *storage.Reader {
	t.Helper()
	stored, err := dbtest.SQLite(t)().CreateLog(t.Context(), "one", memlog.Origin)
	if err != nil {
		t.Fatal(err)
	}
	l := headmac.Open(stored, headmac.Key{})
	r := storage.NewReader(l, storage.NewCache(1<<20))
	s := sequencer.New(sequencer.Config{
		Log: l, Reader: r, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
		Prove:     func(context.Context, tree.Head) error { return nil },
		Committed: func(tree.Head) {},
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer stop()
	<-s.Settled()
	events := make([]event.Event, n)
	for i := range events {
		text := fmt.Sprintf(`{"source":"s","type":"t","id":"%d","data":"%s"}`, i, strings.Repeat("x", size))
		if events[i], err = event.Parse([]byte(text), event.Sender{Name: "w"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(ctx, events); err != nil {
		t.Fatal(err)
	}
	head, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	note, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: memlog.Origin, Head: head.Head}, signer.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AddCheckpoint(ctx, storage.Checkpoint{Size: head.Size, Note: note, Published: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return r
}

func chunksOf(t *testing.T, l storage.Log) []storage.Chunk {
	t.Helper()
	chunks, err := storage.Chunks(t.Context(), l, 0, math.MaxUint64)
	if err != nil {
		t.Fatal(err)
	}
	return chunks
}

// TestRestoredLogIsLaidOutAsItWasWritten compares the rows of a log with those of
// what is restored from it, also where that takes more than one commit.
func TestRestoredLogIsLaidOutAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, size int }{{1000, 10}, {400, 60_000}, {127, 10}, {128, 10}} {
		signer := memlog.New(t, 1, memlog.NoFork)
		source := written(t, signer, c.n, c.size)
		cfg := restoreConfig(t, signer, dbtest.SQLite(t)(), nil)
		cfg.Copy = source
		if _, err := restore.Run(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		restored, err := cfg.Store.OpenLog(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b storage.Chunk) bool { return a.Start == b.Start && string(a.Data) == string(b.Data) }
		want, got := chunksOf(t, source.Log()), chunksOf(t, restored)
		if !slices.EqualFunc(got, want, same) {
			t.Errorf("%d entries of %d bytes are restored as %v, and were written as %v", c.n, c.size, spans(got), spans(want))
		}
		for i, chunk := range got {
			if chunk.Start != uint64(128*i) {
				t.Errorf("chunk %d begins at %d, not at a multiple of 128", i, chunk.Start)
			}
		}
	}
}

// TestChunksEndWithTheHeadsOfTheHistory has commits end within a chunk.
func TestChunksEndWithTheHeadsOfTheHistory(t *testing.T) {
	t.Parallel()
	l, store := memlog.New(t, 700, memlog.NoFork), dbtest.SQLite(t)()
	if _, err := restore.Run(t.Context(), restoreConfig(t, l, store, archive(t, l, 5, 128, 300))); err != nil {
		t.Fatal(err)
	}
	restored, err := store.OpenLog(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	want := "[0,5) [5,128) [128,256) [256,300) [300,384) [384,512) [512,640) [640,700)"
	if got := strings.Join(spans(chunksOf(t, restored)), " "); got != want {
		t.Errorf("the chunks are %s, want %s", got, want)
	}
}

func spans(chunks []storage.Chunk) []string {
	var all []string
	for _, c := range chunks {
		all = append(all, fmt.Sprintf("[%d,%d)", c.Start, c.End()))
	}
	return all
}
