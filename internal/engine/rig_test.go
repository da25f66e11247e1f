package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

const interval = 10 * time.Millisecond

// A running is an engine that runs.
type running struct {
	*engine.Engine
	stop func() // and waits
}

// start opens an engine and runs it until stop, or the end of the test.
func start(t *testing.T, store storage.Store, dir string, followers ...follow.Follower) *running {
	t.Helper()
	return run(t, openHost(t, store, dir, followers...))
}

// run runs an engine until stop, or the end of the test.
func run(t *testing.T, h *engine.Engine) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	h.Start(ctx)
	stop := func() {
		cancel()
		h.Wait()
	}
	t.Cleanup(stop)
	return &running{h, stop}
}

// openHost opens an engine, which does not run yet. Unless there are others, it has
// the index of leaf hashes for a follower.
func openHost(t *testing.T, store storage.Store, dir string, followers ...follow.Follower) *engine.Engine {
	t.Helper()
	if len(followers) == 0 {
		followers = append(followers, leafindex.New())
	}
	h, err := engine.Open(t.Context(), engine.Config{
		Store: store, Dir: dir, Interval: interval, Cache: 1 << 20,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, Followers: followers,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// create creates the log of a name, with an origin made of it.
func (r *running) create(t *testing.T, name string) *engine.Log {
	t.Helper()
	l, err := r.Create(t.Context(), engine.NewLog{Name: name, Origin: origin(name)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func origin(name string) string { return "logs.example.com/" + name }

// get returns the log of a name.
func (r *running) get(t *testing.T, name string) *engine.Log {
	t.Helper()
	l, err := r.Log(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// events returns n events with ids from start on.
func events(t *testing.T, start, n int) []event.Event {
	t.Helper()
	all := make([]event.Event, n)
	for i := range all {
		var err error
		all[i], err = event.Parse(fmt.Appendf(nil, `{"id":"%d","source":"test","type":"t"}`, start+i), event.Sender{Name: "w"})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// appendTo appends n events to a log, which then has size entries, and waits
// for the checkpoint.
func appendTo(t *testing.T, l *engine.Log, start, n int) tree.Head {
	t.Helper()
	if _, err := l.Sequencer.Append(t.Context(), events(t, start, n)); err != nil {
		t.Fatal(err)
	}
	published, err := l.Publisher.Wait(t.Context(), uint64(start+n))
	if err != nil {
		t.Fatal(err)
	}
	return published.Head
}

// checkLog fails the test unless a stored log is whole, has size entries, and
// its checkpoints, of which the last is of that size, are those of its tree,
// signed, by growing size.
func checkLog(t *testing.T, l *engine.Log, size uint64) {
	t.Helper()
	entries := storagetest.Check(t, l.Stored)
	history, err := l.Stored.Checkpoints(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var f tree.Frontier
	for i, c := range history {
		if c.Number != uint64(i) || c.Size < f.Size() || c.Size > uint64(len(entries)) {
			t.Fatalf("checkpoint %d is number %d and of size %d, after one of size %d", i, c.Number, c.Size, f.Size())
		}
		for _, e := range entries[f.Size():c.Size] {
			f.Append([]tree.Hash{tree.LeafHash(e)})
		}
		if got := openNote(t, c.Note, l); got != f.Head() {
			t.Errorf("checkpoint %d signs %v, want %v", i, got, f.Head())
		}
	}
	if uint64(len(entries)) != size || f.Size() != size {
		t.Errorf("%d entries, %d of them published; want %d", len(entries), f.Size(), size)
	}
}

func openNote(t *testing.T, msg []byte, l *engine.Log) tree.Head {
	t.Helper()
	c, _, err := checkpoint.Open(msg, l.Origin, verifier(t, l.VKeys[0]))
	if err != nil {
		t.Fatal(err)
	}
	return c.Head
}

func verifier(t *testing.T, vkey string) note.Verifier {
	t.Helper()
	v, err := checkpoint.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// newKey makes an Ed25519 key for an origin, the same each time.
func newKey(t *testing.T, origin string) (skey, vkey string) {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(make([]byte, 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	return skey, vkey
}

// keyFile returns the path of one of a log's key files.
func keyFile(dir, name, key string) string { return filepath.Join(dir, "logs", name, key) }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// each runs a test on both databases.
func each(t *testing.T, test func(t *testing.T, open func() storage.Store)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, test)
}
