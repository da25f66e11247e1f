package sequencer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// unindexed is a log that seems to have no key index.
type unindexed struct{ storage.Log }

func (l unindexed) Runs() storage.Runs { return noRuns{l.Log.Runs()} }

type noRuns struct{ storage.Runs }

func (noRuns) List(context.Context, string) ([]storage.Run, error) { return nil, nil }

// TestIndexIsBuiltWithOneSegmentInMemory: a large log whose index is built again
// must not need the memory of all its keys, and logs why it is not written to.
func TestIndexIsBuiltWithOneSegmentInMemory(t *testing.T) {
	t.Parallel()
	stored, err := dbtest.SQLite(t)().CreateLog(t.Context(), "default", "log.example/default")
	if err != nil {
		t.Fatal(err)
	}
	l := headmac.Open(stored, headmac.Key{})
	cfg := Config{
		Log: l, Reader: storage.NewReader(l, storage.NewCache(1<<20)),
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
		Prove:     func(context.Context, tree.Head) error { return nil },
		Committed: func(tree.Head) {},
	}
	const size = 3*keyindex.RunLength + 10
	fill(t, cfg, size)

	var logged bytes.Buffer
	cfg.Log, cfg.Logger = unindexed{l}, slog.New(slog.NewTextHandler(&logged, nil))
	d, err := openDedup(t.Context(), cfg, size)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.segments) != 1 || len(d.view) != 0 || d.index.End() != size-10 {
		t.Errorf("%d segments are in memory, %d in view, the index ends at %d; want 1, 0 and %d",
			len(d.segments), len(d.view), d.index.End(), size-10)
	}
	if want := fmt.Sprintf("entries=0 of=%d", size); strings.Count(logged.String(), want) != 1 {
		t.Errorf("logged %q, want %q in it once", logged.String(), want)
	}
}

// fill appends n events to an empty log.
func fill(t *testing.T, cfg Config, n int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := New(cfg)
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer stop()
	<-s.Settled()
	for done := 0; done < n; {
		events := make([]event.Event, min(maxBatch, n-done))
		for i := range events {
			var err error
			text := fmt.Appendf(nil, `{"specversion":"1.0","type":"t","source":"s","id":"%d"}`, done+i)
			if events[i], err = event.Parse(text, event.Sender{Name: "w"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Append(ctx, events); err != nil {
			t.Fatal(err)
		}
		done += len(events)
	}
}
