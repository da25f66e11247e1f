package sequencer_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// create makes a log in a new store.
func create(t *testing.T, open func() storage.Store) storage.Log {
	t.Helper()
	l, err := open().CreateLog(t.Context(), "test", "example.com/test")
	if err != nil {
		t.Fatal(err)
	}
	return headmac.Open(l, headmac.Key{})
}

// A running is a sequencer that runs.
type running struct {
	*sequencer.Sequencer
	log  storage.Log
	stop func() // and waits

	mu    sync.Mutex
	heads []tree.Head // that were committed
}

// start runs a sequencer on the log until stop, or the end of the test.
func start(t testing.TB, l storage.Log, change ...func(*sequencer.Config)) *running {
	t.Helper()
	r := &running{log: l}
	cfg := sequencer.Config{
		Log:    l,
		Reader: storage.NewReader(l, storage.NewCache(1<<20)),
		Logger: slog.New(slog.DiscardHandler),
		Now:    time.Now,
		Prove:  proven,
		Committed: func(h tree.Head) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.heads = append(r.heads, h)
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	r.Sequencer = sequencer.New(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(r.stop)
	r.waitLeading(t)
	return r
}

// proven is the proof of a head that nobody doubts.
func proven(context.Context, tree.Head) error { return nil }

func (r *running) waitLeading(t testing.TB) {
	t.Helper()
	for !r.Leading() {
		select {
		case <-t.Context().Done():
			t.Fatal("the sequencer does not lead")
		case <-time.After(time.Millisecond):
		}
	}
}

// append appends events and fails the test if that fails.
func (r *running) append(t *testing.T, events ...event.Event) []sequencer.Result {
	t.Helper()
	results, err := r.Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// ev returns the event with that id and content.
func ev(t testing.TB, id, content string) event.Event {
	t.Helper()
	e, err := event.Parse(fmt.Appendf(nil, `{"id":%q,"source":"test","type":"t","data":%q}`, id, content), event.Sender{Name: "w"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// evs returns n events with ids from start on.
func evs(t testing.TB, start, n int) []event.Event {
	t.Helper()
	events := make([]event.Event, n)
	for i := range events {
		events[i] = ev(t, fmt.Sprint(start+i), "x")
	}
	return events
}

// each runs a test on both databases, and checks afterwards that the log is
// whole and that each entry has its own source and id.
func each(t *testing.T, test func(t *testing.T, l storage.Log)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l := create(t, open)
		test(t, l)
		checkWhole(t, l)
	})
}

func checkWhole(t *testing.T, l storage.Log) {
	t.Helper()
	seen := map[string]int{}
	for i, entry := range storagetest.Check(t, l) {
		e, err := event.Decode(entry)
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if before, ok := seen[e.Source+" "+e.ID]; ok {
			t.Fatalf("entries %d and %d are the same event", before, i)
		}
		seen[e.Source+" "+e.ID] = i
	}
}
