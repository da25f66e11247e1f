package sequencer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// A buffer can be written to and read from by several goroutines.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// inBubble runs a test whose time passes at once. Encoder and decoder of chunks make
// channels when they are first used, which must not belong to one bubble.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if _, err := storage.EncodeChunk(0, 1, []byte{0, 1, 'x'}).Entries(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, test)
}

// hang blocks a commit until release is closed or its context ends.
func hang(release <-chan struct{}) func(context.Context, storage.Log, storage.Batch) error {
	return func(ctx context.Context, l storage.Log, b storage.Batch) error {
		select {
		case <-release:
			return l.Commit(ctx, b)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestSlowCommitLetsNoMoreEventsIn: a commit that takes more than 10 seconds is logged,
// and what comes while it lasts is refused. What came before is stored once it ends.
func TestSlowCommitLetsNoMoreEventsIn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		var logged buffer
		slow := &faulty{Log: create(t, dbtest.SQLite(t))}
		r := start(t, slow, func(c *sequencer.Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
		release := make(chan struct{})
		fault := hang(release)
		slow.fault.Store(&fault)

		first, err := r.Submit(t.Context(), evs(t, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		second, err := r.Submit(t.Context(), evs(t, 1, 1))
		if err != nil || r.Stalled() {
			t.Fatalf("after 9 s: error %v, stalled is %v; want none, and false", err, r.Stalled())
		}
		time.Sleep(2 * time.Second)
		if _, err := r.Submit(t.Context(), evs(t, 2, 1)); !errors.Is(err, sequencer.ErrStalled) {
			t.Errorf("after 11 s: error %v, want %q", err, sequencer.ErrStalled)
		}
		if age := r.CommitAge(); !r.Stalled() || age < 11*time.Second || age > 12*time.Second {
			t.Errorf("the commit lasts for %v, stalled is %v; want 11 s, and true", age, r.Stalled())
		}
		if got := strings.Count(logged.String(), "a commit takes long"); got != 1 {
			t.Errorf("it is logged %d times, want once:\n%s", got, logged.String())
		}
		close(release)
		<-first.Done()
		<-second.Done()
		if results, err := second.Results(); err != nil || results[0].Index != 1 {
			t.Errorf("what came before: %+v, error %v; want index 1", results, err)
		}
		r.append(t, evs(t, 2, 1)...)
		if !strings.Contains(logged.String(), "has ended") || r.CommitAge() != 0 {
			t.Errorf("its end is not logged, or it lasts for %v still:\n%s", r.CommitAge(), logged.String())
		}
	})
}

// TestStoppingDoesNotWaitForADatabaseThatHangs: what is queued then is answered with an
// unknown outcome.
func TestStoppingDoesNotWaitForADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		stuck := &faulty{Log: create(t, dbtest.SQLite(t))}
		r := start(t, stuck)
		fault := hang(nil)
		stuck.fault.Store(&fault)
		p, err := r.Submit(t.Context(), evs(t, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v to stop", took)
		}
		<-p.Done()
		if _, err := p.Results(); !errors.Is(err, sequencer.ErrUncertain) {
			t.Errorf("error %v, want %q", err, sequencer.ErrUncertain)
		}
	})
}

// A refusing is a log whose lease cannot be had.
type refusing struct {
	storage.Log
	err func() error
}

func (r refusing) Lead(context.Context, string) (storage.Lease, error) { return nil, r.err() }

// runRefused runs a sequencer for a time on a log whose lease cannot be had, and returns
// it with what it has logged.
func runRefused(t *testing.T, d time.Duration, err func() error) (*sequencer.Sequencer, string) {
	t.Helper()
	var logged buffer
	l := create(t, dbtest.SQLite(t))
	s := sequencer.New(sequencer.Config{
		Log: refusing{l, err}, Reader: storage.NewReader(l, storage.NewCache(0)),
		Logger: slog.New(slog.NewTextHandler(&logged, nil)), Now: time.Now,
	})
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	s.Run(ctx)
	return s, logged.String()
}

// TestAbsenceOfTheDatabaseIsLoggedNowAndThen: at once, and then every 10 seconds.
func TestAbsenceOfTheDatabaseIsLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		s, logged := runRefused(t, 35*time.Second, func() error {
			return fmt.Errorf("lead log: %w", storage.ErrUnavailable)
		})
		if got := strings.Count(logged, "not available"); got != 4 {
			t.Errorf("an absence of 35 s is logged %d times, want 4:\n%s", got, logged)
		}
		if strings.Contains(logged, "taken over") {
			t.Errorf("the database's absence is called something else:\n%s", logged)
		}
		if n := s.Stats().Failures.Load(); n < 30 {
			t.Errorf("it was tried %d times in 35 s", n)
		}
	})
}

// TestWaitingIsLoggedOnce, with the server that holds the lease, and again if that is another.
func TestWaitingIsLoggedOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		began := time.Now()
		s, logged := runRefused(t, time.Minute, func() error {
			holder := "https://one.example"
			if time.Since(began) > 30*time.Second {
				holder = "https://two.example"
			}
			return &storage.LeasedError{Holder: holder}
		})
		one, two := strings.Count(logged, "holder=https://one"), strings.Count(logged, "holder=https://two")
		if one != 1 || two != 1 || strings.Count(logged, "\n") != 2 {
			t.Errorf("each holder should be logged once:\n%s", logged)
		}
		if got := s.Writer(); got != "https://two.example" {
			t.Errorf("the holder is %q", got)
		}
	})
}
