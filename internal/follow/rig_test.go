package follow_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// A digest is a follower that stores the hash of the entries of each batch, in the
// filter of a run.
type digest struct {
	name    string
	version int
	scope   follow.Scope
	step    uint64

	// before, if it is not nil, is called before a batch is stored; an error ends
	// the attempt.
	before func(ctx context.Context, b follow.Batch) error

	mu             sync.Mutex
	opened, stored int
	tried          []uint64 // where the batches began
}

func newDigest() *digest { return &digest{name: "digest", version: 1, step: 10} }

func (d *digest) Name() string         { return d.name }
func (d *digest) Version() int         { return d.version }
func (d *digest) Upto() follow.Scope   { return d.scope }
func (s *digestState) Next() uint64    { return s.next }
func (s *digestState) Step() uint64    { return s.step }
func (d *digest) starts() []uint64     { d.mu.Lock(); defer d.mu.Unlock(); return slices.Clone(d.tried) }
func (d *digest) counts() (o, s int)   { d.mu.Lock(); defer d.mu.Unlock(); return d.opened, d.stored }
func (d *digest) note(change func())   { d.mu.Lock(); defer d.mu.Unlock(); change() }
func (d *digest) hash(b []byte) []byte { return fmt.Appendf(nil, "%d %x", d.version, sha256.Sum256(b)) }

func (d *digest) Open(ctx context.Context, log *storage.Reader) (follow.State, error) {
	d.note(func() { d.opened++ })
	runs, err := log.Log().Runs().List(ctx, d.name)
	s := &digestState{digest: d, runs: log.Log().Runs()}
	for _, r := range runs {
		s.next = r.End
	}
	return s, err
}

func (d *digest) Drop(ctx context.Context, log *storage.Reader, move storage.Move) error {
	return log.Log().Runs().Drop(ctx, d.name, move)
}

type digestState struct {
	*digest
	runs storage.Runs
	next uint64
}

func (s *digestState) Apply(ctx context.Context, b follow.Batch) error {
	s.note(func() { s.tried = append(s.tried, b.Start) })
	if b.Start != s.next || (b.End-b.Start)%s.step != 0 || b.End == b.Start {
		return fmt.Errorf("a batch of entries %d to %d, after %d", b.Start, b.End, s.next)
	}
	leaves, err := b.Leaves(ctx)
	if err != nil {
		return err
	}
	var all []byte
	for e, err := range b.Entries(ctx) {
		if err != nil {
			return err
		}
		if len(leaves) == 0 || tree.LeafHash(e) != leaves[0] {
			return fmt.Errorf("%d leaf hashes are left, of which the first is not that of %q", len(leaves), e)
		}
		all, leaves = append(all, e...), leaves[1:]
	}
	if s.before != nil {
		if err := s.before(ctx, b); err != nil {
			return err
		}
	}
	run := storage.Run{Kind: s.name, Start: b.Start, End: b.End, Filter: s.hash(all)}
	if err := s.runs.Replace(ctx, run, slices.Values[[]storage.Page](nil), new(follow.Move(s, b.Start, b.End))); err != nil {
		return err
	}
	s.next = b.End
	s.note(func() { s.stored++ })
	return nil
}

// wantDigest fails the test unless what the follower has stored is what follows from
// the first size entries, without gaps, and returns the number of batches.
func (d *digest) wantDigest(t *testing.T, l storage.Log, size uint64) int {
	t.Helper()
	runs, err := l.Runs().List(t.Context(), d.name)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	entries := storagetest.Check(t, l)
	for _, r := range runs {
		filter, err := l.Runs().Filter(t.Context(), r)
		if err != nil || r.Start != next || !bytes.Equal(filter, d.hash(bytes.Join(entries[r.Start:r.End], nil))) {
			t.Fatalf("after entry %d comes a batch of entries %d to %d with digest %q, error %v", next, r.Start, r.End, filter, err)
		}
		next = r.End
	}
	at, err := l.Cursors().Get(t.Context(), d.name)
	if want := (storage.Position{Version: d.version, Next: size}); err != nil || next != size || at != want {
		t.Fatalf("stored up to entry %d, the cursor stands at %+v, error %v; want %+v", next, at, err, want)
	}
	return len(runs)
}

func newLog(t *testing.T, open func() storage.Store) storage.Log {
	t.Helper()
	l, err := open().CreateLog(t.Context(), "default", "log.example/default")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A running is a runner that runs until stop, or the end of the test.
type running struct {
	*follow.Runner
	stop func() // and waits
}

func run(t *testing.T, l storage.Log, followers ...follow.Follower) *running {
	t.Helper()
	r := &running{Runner: follow.New(follow.Config{
		Log: storage.NewReader(l, storage.NewCache(1<<20)), Followers: followers, Logger: slog.New(slog.DiscardHandler),
	})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

// waitFor waits until a follower's cursor stands at an entry.
func waitFor(t *testing.T, l storage.Log, d *digest, next uint64) {
	t.Helper()
	t.Logf("waiting for %s to come to entry %d", d.name, next) // should the test run into its time limit
	for {
		at, err := l.Cursors().Get(t.Context(), d.name)
		if err != nil {
			t.Fatal(err)
		}
		if at == (storage.Position{Version: d.version, Next: next}) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
