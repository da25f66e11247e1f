package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgproxy"
	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestDatabaseThatIsAwayIsUnavailable: whatever is asked for while the database cannot
// be reached, the error is ErrUnavailable; and once it is back, all works as before.
func TestDatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.URL(t))
	s := open(t, proxy.URL())
	l, err := s.CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	head := storagetest.Grow(t, l, 300)
	proxy.Down()
	for name, call := range calls(t.Context(), s, l) {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: error %v, want %q", name, err, storage.ErrUnavailable)
		}
	}
	proxy.Resume()
	if got, err := l.Head(t.Context()); err != nil || got.Head != head {
		t.Errorf("head %v, error %v; want %v", got, err, head)
	}
}

// calls are statements of each kind.
func calls(ctx context.Context, s storage.Store, l storage.Log) map[string]func() error {
	return map[string]func() error{
		"Ping":      func() error { return s.Ping(ctx) },
		"Logs":      func() error { _, err := s.Logs(ctx); return err },
		"CreateLog": func() error { _, err := s.CreateLog(ctx, "two", "log.example/two"); return err },
		"Lead":      func() error { _, err := l.Lead(ctx, "http://here"); return err },
		"Head":      func() error { _, err := l.Head(ctx); return err },
		"EachChunk": func() error { return l.EachChunk(ctx, 0, 300, func(storage.Chunk) error { return nil }) },
		"Tile":      func() error { _, err := l.Tile(ctx, 0, 0); return err },
		"AddCheckpoint": func() error {
			return l.AddCheckpoint(ctx, storage.Checkpoint{Size: 300, Note: []byte("note"), Published: time.Now()})
		},
		"Checkpoints": func() error { _, err := l.Checkpoints(ctx, 0, 1); return err },
		"Runs":        func() error { _, err := l.Runs().List(ctx, "event"); return err },
		"Drop": func() error {
			return l.Runs().Drop(ctx, "event", storage.Move{Follower: "f", To: storage.Position{Version: 1}})
		},
		"Cursor": func() error { _, err := l.Cursors().Get(ctx, "f"); return err },
		"Move": func() error {
			return l.Cursors().Move(ctx, storage.Move{Follower: "f", To: storage.Position{Version: 1}})
		},
	}
}

// TestConnectionThatIsEndedIsUnavailable ends all sessions, as a restart of the database
// does.
func TestConnectionThatIsEndedIsUnavailable(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300, 300)
	other := pgtest.Connect(t, url)
	err = l.EachChunk(t.Context(), 0, 600, func(storage.Chunk) error {
		_, err := other.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		return err
	})
	if err != nil && !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("error %v, want none, as all was sent already, or %q", err, storage.ErrUnavailable)
	}
	if _, err := l.Head(t.Context()); err != nil && !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("error %v, want none, by a new connection, or %q", err, storage.ErrUnavailable)
	}
}

// TestReplyThatIsLostLeavesTheOutcomeUnknown cuts the connection between a commit and
// its reply.
func TestReplyThatIsLostLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.URL(t))
	l, err := open(t, proxy.URL()).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	var f tree.Frontier
	batch := storagetest.Batch(t, lease.Epoch(), &f, storagetest.Entries(0, 300))
	cut := proxy.CutReply("INSERT 0 1")
	if err := l.Commit(t.Context(), batch); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("error %v, want %q", err, storage.ErrUnavailable)
	}
	<-cut
	if head, err := l.Head(t.Context()); err != nil || head.Head != f.Head() {
		t.Errorf("head %v, error %v; want that of the commit, %v", head, err, f.Head())
	}
}
