package leafindex_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

func newLog(t *testing.T, open func() storage.Store) storage.Log {
	t.Helper()
	l, err := open().CreateLog(t.Context(), "default", "log.example/default")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// An index is one of a log, which it has opened and follows to the end of the test.
type index struct {
	*leafindex.Index
	log    *storage.Reader
	runner *follow.Runner
	opened func()
	isOpen chan struct{} // closed by opened
}

func (x *index) Open(ctx context.Context, log *storage.Reader) (follow.State, error) {
	defer x.opened()
	return x.Index.Open(ctx, log)
}

func openIndex(t *testing.T, l storage.Log) *index {
	t.Helper()
	x := &index{Index: leafindex.New(), log: storage.NewReader(l, storage.NewCache(1<<20)), isOpen: make(chan struct{})}
	x.opened = sync.OnceFunc(func() { close(x.isOpen) })
	x.runner = follow.New(follow.Config{
		Log: x.log, Followers: []follow.Follower{x}, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); x.runner.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-x.isOpen
	return x
}

// follow tells an index of the log's head and waits until all full runs are stored.
func (x *index) follow(t *testing.T) {
	t.Helper()
	head, err := x.log.Log().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.runner.Committed(head.Head)
	for end := x.end(t); end+keyindex.RunLength <= head.Size; end = x.end(t) {
		select {
		case <-t.Context().Done():
			t.Fatalf("the index ends at entry %d of %d", end, head.Size)
		case <-time.After(time.Millisecond):
		}
	}
}

// end returns where the index's cursor stands.
func (x *index) end(t *testing.T) uint64 {
	t.Helper()
	at, err := x.log.Log().Cursors().Get(t.Context(), x.Name())
	if err != nil {
		t.Fatal(err)
	}
	return at.Next
}

// grow appends made-up entries, of which those at the indexes in same are all
// alike. It returns the leaf hashes.
func grow(t *testing.T, l storage.Log, n int, same ...int) []tree.Hash {
	t.Helper()
	entries := storagetest.Entries(0, n)
	for _, i := range same {
		entries[i] = []byte("the same")
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
	leaves := make([]tree.Hash, n)
	for i, e := range entries {
		leaves[i] = tree.LeafHash(e)
	}
	return leaves
}

func wantFound(t *testing.T, x *index, leaf tree.Hash, size, want uint64) {
	t.Helper()
	if got, err := x.Find(t.Context(), x.log, leaf, size); err != nil || got != want {
		t.Errorf("below %d the leaf is at %d, error %v; want %d", size, got, err, want)
	}
}

func wantError(t *testing.T, x *index, leaf tree.Hash, size uint64, want error) {
	t.Helper()
	if got, err := x.Find(t.Context(), x.log, leaf, size); !errors.Is(err, want) {
		t.Errorf("below %d the leaf is at %d, error %v; want %q", size, got, err, want)
	}
}

func TestEntriesOfAShortLogAreFound(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l := newLog(t, open)
		x := openIndex(t, l)
		wantError(t, x, tree.LeafHash(nil), 0, leafindex.ErrNotFound)
		leaves := grow(t, l, 600, 300, 301, 511, 599)
		x.follow(t)
		for i, leaf := range leaves {
			if i > 300 && leaf == leaves[300] {
				continue
			}
			wantFound(t, x, leaf, 600, uint64(i))
			wantFound(t, x, leaf, uint64(i+1), uint64(i))
			wantError(t, x, leaf, uint64(i), leafindex.ErrNotFound)
		}
		wantFound(t, x, leaves[599], 600, 300)
		wantError(t, x, tree.LeafHash([]byte("unknown")), 600, leafindex.ErrNotFound)
	})
}

// TestEntriesAreFoundInTheIndexAndBehindIt has the first of equal entries where
// the index has it, and where it has not.
func TestEntriesAreFoundInTheIndexAndBehindIt(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		const size, end = 66_100, keyindex.RunLength
		l := newLog(t, open)
		before := openIndex(t, l)
		leaves := grow(t, l, size, 500, 501, 65_000, end, 66_000)
		x := openIndex(t, l)
		x.follow(t)
		if x.end(t) != end {
			t.Errorf("the index ends at entry %d, want %d", x.end(t), end)
		}
		// The others were not told of the growth: another server writes.
		for _, x := range []*index{x, before, openIndex(t, l)} {
			for _, i := range []uint64{0, 1, 255, 256, 500, 32_768, end - 1, end + 1, 65_999, size - 1} {
				wantFound(t, x, leaves[i], size, i)
				wantFound(t, x, leaves[i], i+1, i)
				wantError(t, x, leaves[i], i, leafindex.ErrNotFound)
			}
			wantFound(t, x, leaves[66_000], size, 500)
			wantFound(t, x, leaves[66_000], 501, 500)
			wantError(t, x, tree.LeafHash([]byte("unknown")), size, leafindex.ErrNotFound)
		}
	})
}

// TestIndexIsHeldAgainstTheTree has an index that says of three entries that
// they have the key of one of them.
func TestIndexIsHeldAgainstTheTree(t *testing.T) {
	t.Parallel()
	l := newLog(t, dbtest.SQLite(t))
	leaves := grow(t, l, keyindex.RunLength)
	keys := make([]uint64, len(leaves))
	for i, leaf := range leaves {
		keys[i] = keyindex.LeafKey(leaf)
	}
	keys[50], keys[200] = keys[100], keys[100]
	wrong, err := keyindex.Open(t.Context(), l.Runs(), keyindex.Leaves)
	if err != nil {
		t.Fatal(err)
	}
	move := follow.Move(leafindex.New(), 0, keyindex.RunLength)
	move.From = storage.Position{}
	if err := wrong.Add(t.Context(), keys, &move); err != nil {
		t.Fatal(err)
	}
	x := openIndex(t, l)
	x.follow(t)
	wantFound(t, x, leaves[100], 1000, 100)
	wantError(t, x, leaves[100], 100, leafindex.ErrNotFound)
	collides := leaves[100]
	collides[31] ^= 1
	wantError(t, x, collides, 1000, leafindex.ErrNotFound)
}

func TestLongTailIsNotSearched(t *testing.T) {
	t.Parallel()
	l := newLog(t, dbtest.SQLite(t))
	leaves := grow(t, l, 300)
	x := openIndex(t, l)
	const longest = 1 << 20
	wantError(t, x, leaves[0], longest+1, leafindex.ErrBehind)
	wantFound(t, x, leaves[0], longest, 0)
}

// TestIndexOfAnotherServerSparesTheTail has a server that was not told of the
// growth, which is too long to be searched.
func TestIndexOfAnotherServerSparesTheTail(t *testing.T) {
	t.Parallel()
	l := newLog(t, dbtest.SQLite(t))
	before := openIndex(t, l)
	leaves := grow(t, l, keyindex.RunLength)
	openIndex(t, l).follow(t)
	const size = 1 << 21 // says a run without keys
	more := storage.Run{Kind: keyindex.Leaves, Start: keyindex.RunLength, End: size}
	move := follow.Move(before, keyindex.RunLength, size)
	if err := l.Runs().Replace(t.Context(), more, slices.Values[[]storage.Page](nil), &move); err != nil {
		t.Fatal(err)
	}
	wantFound(t, before, leaves[12_345], size, 12_345)
	wantError(t, before, tree.LeafHash([]byte("unknown")), size, leafindex.ErrNotFound)
}

// A faulty is a log whose first few runs cannot be stored.
type faulty struct {
	storage.Log
	failures atomic.Int64
}

func (l *faulty) Runs() storage.Runs { return faultyRuns{l.Log.Runs(), l} }

type faultyRuns struct {
	storage.Runs
	log *faulty
}

var errInjected = errors.New("injected fault")

func (r faultyRuns) Replace(ctx context.Context, run storage.Run, pages iter.Seq[storage.Page], move *storage.Move) error {
	if r.log.failures.Add(-1) >= 0 {
		return errInjected
	}
	return r.Runs.Replace(ctx, run, pages, move)
}

func TestIndexIsBuiltDespiteFaults(t *testing.T) {
	t.Parallel()
	l := &faulty{Log: newLog(t, dbtest.SQLite(t))}
	leaves := grow(t, l, keyindex.RunLength+10)
	l.failures.Store(1)
	x := openIndex(t, l)
	x.follow(t)
	wantFound(t, x, leaves[7], keyindex.RunLength+10, 7)
	wantFound(t, x, leaves[len(leaves)-1], keyindex.RunLength+10, keyindex.RunLength+9)
}

// TestIndexGoesOnFromWhereAnotherServerCame has a server write again after
// another has, which has also merged the runs that this one knows of.
func TestIndexGoesOnFromWhereAnotherServerCame(t *testing.T) {
	t.Parallel()
	l := newLog(t, dbtest.SQLite(t))
	leaves := grow(t, l, 2*keyindex.RunLength+300)
	before := openIndex(t, l)
	other := openIndex(t, l)
	other.follow(t)
	runs, err := l.Runs().List(t.Context(), keyindex.Leaves)
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d runs, error %v", len(runs), err)
	}
	merged := runs[0]
	merged.End = runs[1].End
	if err := l.Runs().Replace(t.Context(), merged, slices.Values[[]storage.Page](nil), nil); err != nil {
		t.Fatal(err)
	}
	before.follow(t)
	wantFound(t, before, leaves[len(leaves)-1], uint64(len(leaves)), uint64(len(leaves)-1))
}
