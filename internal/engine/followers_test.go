package engine_test

import (
	"context"
	"testing"

	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// A counter is a follower that stores nothing but its cursor. If it is held it does
// not even do that.
type counter struct {
	scope follow.Scope
	held  bool
}

func (c counter) Name() string       { return "counter" }
func (c counter) Version() int       { return 1 }
func (c counter) Upto() follow.Scope { return c.scope }
func (s *counterState) Next() uint64 { return s.next }
func (s *counterState) Step() uint64 { return 1 }

func (c counter) Open(ctx context.Context, log *storage.Reader) (follow.State, error) {
	at, err := log.Log().Cursors().Get(ctx, c.Name())
	return &counterState{c, log, at.Next}, err
}

func (c counter) Drop(ctx context.Context, log *storage.Reader, move storage.Move) error {
	return log.Log().Cursors().Move(ctx, move)
}

type counterState struct {
	counter
	log  *storage.Reader
	next uint64
}

func (s *counterState) Apply(ctx context.Context, b follow.Batch) error {
	if s.held {
		<-ctx.Done()
		return ctx.Err()
	}
	err := s.log.Log().Cursors().Move(ctx, follow.Move(s, b.Start, b.End))
	s.next = b.End
	return err
}

// stands reports whether a log's counter has come to an entry.
func stands(t *testing.T, l storage.Log, next uint64) func() bool {
	return func() bool {
		at, err := l.Cursors().Get(t.Context(), "counter")
		if err != nil {
			t.Error(err)
		}
		return at.Next == next
	}
}

func TestFollowersKeepUpWithWhatIsCommittedAndPublished(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		for name, scope := range map[string]follow.Scope{"committed": follow.Committed, "published": follow.Published} {
			dir := t.TempDir()
			h := start(t, open(), dir, counter{scope: scope})
			l := h.create(t, name)
			for n := uint64(50); n <= 200; n += 50 {
				appendTo(t, l, int(n)-50, 50)
				eventually(t, "the counter follows", stands(t, l.Stored, n))
			}
			h.stop()
			// What was appended while no follower ran is followed after the start.
			h = start(t, open(), dir, counter{scope: scope, held: true})
			appendTo(t, h.get(t, name), 200, 50)
			h.stop()
			h = start(t, open(), dir, counter{scope: scope})
			eventually(t, "the counter follows", stands(t, h.get(t, name).Stored, 250))
			h.stop()
		}
	})
}

// TestStandbyFollowsWhatAnotherServerPublishes has a server whose own follower is
// held write to the log.
func TestStandbyFollowsWhatAnotherServerPublishes(t *testing.T) {
	t.Parallel()
	open, dir := dbtest.Postgres(t), t.TempDir()
	l := start(t, open(), dir, counter{scope: follow.Published, held: true}).create(t, "one")
	standby := start(t, open(), copyDir(t, dir), counter{scope: follow.Published}).get(t, "one")
	if standby.Broken != nil || standby.Sequencer.Leading() {
		t.Fatalf("the standby writes to the log, or it is broken: %v", standby.Broken)
	}
	for n := uint64(50); n <= 200; n += 50 {
		appendTo(t, l, int(n)-50, 50)
		eventually(t, "the standby's counter follows", stands(t, l.Stored, n))
	}
}
