package mirror_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/internal/watch/mirror"
	"github.com/stele-log/stele/pkg/tile"
)

// A changingLog shows one state of a log after the other, once each; nil is one
// that cannot be read. It calls ended after the last.
type changingLog struct {
	tile.Reader
	states []*memlog.Log
	ended  func()
}

var errAway = errors.New("the log is away")

func (l *changingLog) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	if len(l.states) == 0 {
		l.ended()
		return nil, ctx.Err()
	}
	next := l.states[0]
	l.states = l.states[1:]
	if next == nil {
		return nil, errAway
	}
	l.Reader = next
	return next.ReadCheckpoint(ctx)
}

// run follows the states of a log in a new folder, and returns what was reported.
func run(t *testing.T, states ...*memlog.Log) (added []uint64, errs []error, ended error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m, err := mirror.Open(mirror.Config{Log: &changingLog{states: states, ended: cancel}, Dir: t.TempDir(), Policy: states[0].Policy})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ended = m.Run(ctx, time.Microsecond, func(u mirror.Update, err error) {
		added, errs = append(added, u.Added), append(errs, err)
	})
	return added, errs, ended
}

func TestRunFollowsALogThatIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	added, errs, err := run(t, memlog.New(t, 300, memlog.NoFork), nil, memlog.New(t, 300, memlog.NoFork), memlog.New(t, 700, memlog.NoFork))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		added uint64
		err   error
	}{{300, nil}, {0, errAway}, {0, nil}, {400, nil}} {
		if i >= len(added) || added[i] != want.added || !errors.Is(errs[i], want.err) {
			t.Fatalf("reported are %d entries, errors %v; want %+v as number %d", added, errs, want, i)
		}
	}
	if len(added) != 4 {
		t.Errorf("%d updates are reported, want 4: the one that the context ended is none", len(added))
	}
}

func TestRunEndsAtAnotherHistory(t *testing.T) {
	t.Parallel()
	added, _, err := run(t, memlog.New(t, 300, memlog.NoFork), memlog.New(t, 400, 100), memlog.New(t, 400, memlog.NoFork))
	var forked *mirror.InconsistentError
	if !errors.As(err, &forked) || len(added) != 1 {
		t.Errorf("it ended with %v after %d updates, want an InconsistentError after 1", err, len(added))
	}
}
