package keyindex_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/sqlite"
)

const run = keyindex.RunLength

// A model is the keys that an index must find, by entry.
type model struct{ keys []uint64 }

// Keys have 40 bits. everyRun is a key that each run has at its start, often one
// that it has more times than a page holds pairs.
const maxKey, everyRun, often = 1<<40 - 1, 1 << 30, maxKey - 1

// next returns the keys of the next run and adds them to the model. Many occur
// twice or more in the run, so that pages end among equal keys; some are in
// other runs too.
func (m *model) next() []uint64 {
	start := uint64(len(m.keys))
	random := rand.New(rand.NewPCG(start, 3))
	keys := make([]uint64, run)
	for i := range keys {
		switch i % 4 {
		default:
			keys[i] = random.Uint64N(maxKey + 1)
		case 1, 2:
			keys[i] = random.Uint64N(run/4)<<24 | start
		case 3:
			keys[i] = random.Uint64N(run)<<24 | 1
		}
	}
	for i, key := range []uint64{0, 0, 1<<39 - 1, 1 << 39, 1 << 39, maxKey, maxKey} {
		keys[i*1000] = key
	}
	for i := range 700 {
		keys[10_001+7*i] = often
	}
	keys[0], keys[run-1] = everyRun, everyRun+1
	m.keys = append(m.keys, keys...)
	return keys
}

// check fails the test unless the index finds exactly the entries with each of
// the keys.
func (m *model) check(t *testing.T, x *keyindex.Index, keys []uint64) {
	t.Helper()
	want := map[uint64][]uint64{}
	for _, key := range keys {
		want[key] = nil
	}
	for i, key := range m.keys {
		if before, ok := want[key]; ok {
			want[key] = append(before, uint64(i))
		}
	}
	for asked := range slices.Chunk(keys, 4096) {
		matches, err := x.Find(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		found := make([][]uint64, len(asked))
		for _, match := range matches {
			found[match.Key] = append(found[match.Key], match.Index)
		}
		for i, key := range asked {
			if !slices.Equal(found[i], want[key]) {
				t.Fatalf("of %d entries those with key %#x are %d, want %d", len(m.keys), key, found[i], want[key])
			}
		}
	}
}

// sample returns keys that the model has, all those that stand out among them,
// and some that it has not.
func (m *model) sample() []uint64 {
	keys := []uint64{everyRun, everyRun + 1, often, 0, 1<<39 - 1, 1 << 39, maxKey, 1, 1<<39 + 1, maxKey - 2}
	for i := 0; i < len(m.keys); i += 499 {
		keys = append(keys, m.keys[i], (m.keys[i]+1)&maxKey)
	}
	return append(keys, everyRun) // twice in one question
}

// sevenRuns are the files of a database with an index of seven runs.
var sevenRuns = sync.OnceValues(func() (files map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "keyindex")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "stele.db")
	if _, _, err := sqlite.Migrate(ctx, path); err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	l, err := store.CreateLog(ctx, "default", "log.example/default")
	if err != nil {
		return nil, err
	}
	x, err := keyindex.Open(ctx, l.Runs(), keyindex.Events)
	if err != nil {
		return nil, err
	}
	m := &model{}
	for range 7 {
		if err := x.Add(ctx, m.next(), nil); err != nil {
			return nil, err
		}
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(path + "*") // the file and its write-ahead log
	files = map[string][]byte{}
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return files, err
})

// withSeven returns an index of seven runs.
func withSeven(t *testing.T) (storage.Runs, *model) {
	t.Helper()
	files, err := sevenRuns()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "stele.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	l, err := store.OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	m := &model{}
	for range 7 {
		m.next()
	}
	return l.Runs(), m
}

func newRuns(t *testing.T, open func() storage.Store) storage.Runs {
	t.Helper()
	l, err := open().CreateLog(t.Context(), "default", "log.example/default")
	if err != nil {
		t.Fatal(err)
	}
	return l.Runs()
}

func openIndex(t *testing.T, l storage.Runs, kind string) *keyindex.Index {
	t.Helper()
	x, err := keyindex.Open(t.Context(), l, kind)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func add(t *testing.T, x *keyindex.Index, keys []uint64) {
	t.Helper()
	if err := x.Add(t.Context(), keys, nil); err != nil {
		t.Fatal(err)
	}
}

// wantRuns compares the lengths of the stored runs, counted in RunLength.
func wantRuns(t *testing.T, l storage.Runs, kind string, want ...uint64) {
	t.Helper()
	stored, err := l.List(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	var lengths []uint64
	for _, r := range stored {
		lengths = append(lengths, (r.End-r.Start)/run)
	}
	if !slices.Equal(lengths, want) {
		t.Errorf("runs of lengths %d are stored, want %d", lengths, want)
	}
}

func TestIndexFindsAllEntriesAndNoOthers(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		l := newRuns(t, open)
		x := openIndex(t, l, keyindex.Leaves)
		m := &model{}
		m.check(t, x, m.sample())
		for range 2 {
			if x.End() != uint64(len(m.keys)) {
				t.Fatalf("the index ends at %d, want %d", x.End(), len(m.keys))
			}
			add(t, x, m.next())
			m.check(t, x, m.sample())
		}
		m.check(t, x, m.keys[:run/4])
		wantRuns(t, l, keyindex.Leaves, 1, 1)
		wantRuns(t, l, keyindex.Events)
		m.check(t, openIndex(t, l, keyindex.Leaves), m.sample())
		if other := openIndex(t, l, keyindex.Events); other.End() != 0 {
			t.Errorf("the index of another kind ends at %d", other.End())
		}
	})
}

// TestEightRunsAreMerged ends with a run within the merged one: a server that
// has lost its lease unawares writes one that another has merged already.
func TestEightRunsAreMerged(t *testing.T) {
	t.Parallel()
	l, m := withSeven(t)
	x, late := openIndex(t, l, keyindex.Events), openIndex(t, l, keyindex.Events)
	m.check(t, x, m.sample())
	add(t, x, m.next())
	wantRuns(t, l, keyindex.Events, 1, 1, 1, 1, 1, 1, 1, 1)
	add(t, x, m.next())
	wantRuns(t, l, keyindex.Events, 8, 1)
	m.check(t, x, m.sample())

	add(t, late, m.keys[7*run:8*run])
	wantRuns(t, l, keyindex.Events, 8, 1, 1)
	again := openIndex(t, l, keyindex.Events)
	if x.End() != 9*run || again.End() != 9*run {
		t.Errorf("the index ends at %d, and opened again at %d; want %d", x.End(), again.End(), 9*run)
	}
	m.check(t, again, m.sample())
	add(t, again, m.next())
	wantRuns(t, l, keyindex.Events, 8, 1, 1, 1)
	m.check(t, openIndex(t, l, keyindex.Events), m.sample())
}

func TestRunOfOneKeyIsFoundWhole(t *testing.T) {
	t.Parallel()
	l := newRuns(t, dbtest.SQLite(t))
	x := openIndex(t, l, keyindex.Events)
	add(t, x, slices.Repeat([]uint64{7}, run))
	matches, err := x.Find(t.Context(), []uint64{6, 7, 8})
	if err != nil || len(matches) != run {
		t.Fatalf("%d entries, error %v; want %d", len(matches), err, run)
	}
	for i, match := range matches {
		if match != (keyindex.Match{Key: 1, Index: uint64(i)}) {
			t.Fatalf("match %d is %+v", i, match)
		}
	}
}

func TestAddRefusesAnythingButARun(t *testing.T) {
	t.Parallel()
	l := newRuns(t, dbtest.SQLite(t))
	x := openIndex(t, l, keyindex.Events)
	for _, n := range []int{0, run - 1, run + 1} {
		if err := x.Add(t.Context(), make([]uint64, n), nil); err == nil {
			t.Errorf("%d keys were added", n)
		}
	}
	if x.End() != 0 {
		t.Errorf("the index ends at %d", x.End())
	}
	wantRuns(t, l, keyindex.Events)
}

func TestFailedAddChangesNothing(t *testing.T) {
	t.Parallel()
	l := newRuns(t, dbtest.SQLite(t))
	x := openIndex(t, l, keyindex.Events)
	m := &model{}
	add(t, x, m.next())
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Add(cancelled, make([]uint64, run), nil); err == nil {
		t.Fatal("added, though the context has ended")
	}
	m.check(t, x, m.sample())
	add(t, x, m.next())
	m.check(t, x, m.sample())
	wantRuns(t, l, keyindex.Events, 1, 1)
}

// TestFindWhileRunsAreMerged asks for keys that are in the index all the time.
func TestFindWhileRunsAreMerged(t *testing.T) {
	t.Parallel()
	l, m := withSeven(t)
	x := openIndex(t, l, keyindex.Events)
	asked := []uint64{everyRun, m.keys[5], m.keys[run-2], everyRun + 1}
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ; !done.Load(); time.Sleep(time.Millisecond) {
				end := x.End()
				matches, err := x.Find(t.Context(), asked)
				if err != nil {
					t.Error(err)
					return
				}
				if err := wantAll(matches, end); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		add(t, x, m.next())
	}
	done.Store(true)
	wg.Wait()
	wantRuns(t, l, keyindex.Events, 8, 1)
}

// wantAll returns an error unless key 0, which is everyRun, was found once in
// each run below end.
func wantAll(matches []keyindex.Match, end uint64) error {
	seen := map[keyindex.Match]bool{}
	for _, m := range matches {
		if seen[m] {
			return fmt.Errorf("found %+v twice", m)
		}
		seen[m] = true
	}
	for start := uint64(0); start < end; start += run {
		if !seen[keyindex.Match{Key: 0, Index: start}] {
			return fmt.Errorf("entry %d is not found in an index up to %d", start, end)
		}
	}
	return nil
}

// A stalling is an index that, once it has stored a merged run, goes on only when
// somebody has missed one of those merged. It counts how often it is opened.
type stalling struct {
	storage.Runs
	stored, missed chan struct{}
	opened         atomic.Int64
}

func (l *stalling) List(ctx context.Context, kind string) ([]storage.Run, error) {
	l.opened.Add(1)
	return l.Runs.List(ctx, kind)
}

func (l *stalling) Replace(ctx context.Context, r storage.Run, pages iter.Seq[storage.Page], move *storage.Move) error {
	err := l.Runs.Replace(ctx, r, pages, move)
	if r.End-r.Start > run {
		close(l.stored)
		<-l.missed
	}
	return err
}

func (l *stalling) Pages(ctx context.Context, run storage.Run, keys []uint64) ([]storage.Page, error) {
	pages, err := l.Runs.Pages(ctx, run, keys)
	if errors.Is(err, storage.ErrNotFound) {
		close(l.missed)
	}
	return pages, err
}

// TestFindKnowsAMergeOfItsOwn has Find miss a run before the index knows that it
// is merged. Only a merge by another is a reason to read all filters again.
func TestFindKnowsAMergeOfItsOwn(t *testing.T) {
	t.Parallel()
	stored, m := withSeven(t)
	l := &stalling{Runs: stored, stored: make(chan struct{}), missed: make(chan struct{})}
	x := openIndex(t, l, keyindex.Events)
	add(t, x, m.next())
	var wg sync.WaitGroup
	wg.Go(func() { add(t, x, m.next()) })
	<-l.stored
	matches, err := x.Find(t.Context(), []uint64{everyRun})
	if err != nil {
		t.Error(err)
	} else if err := wantAll(matches, 8*run); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if n := l.opened.Load(); n != 1 {
		t.Errorf("the index was opened %d times, want once", n)
	}
}

// A hooked is an index that does something before it reads pages of a run.
type hooked struct {
	storage.Runs
	before func(start uint64)
}

func (l *hooked) Pages(ctx context.Context, run storage.Run, keys []uint64) ([]storage.Page, error) {
	if l.before != nil {
		l.before(run.Start)
	}
	return l.Runs.Pages(ctx, run, keys)
}

// TestFindOutlivesAMergeByAnother merges the runs while Find reads them, by an
// index of the same log that this one does not know of.
func TestFindOutlivesAMergeByAnother(t *testing.T) {
	t.Parallel()
	l, m := withSeven(t)
	writer := openIndex(t, l, keyindex.Events)
	log := &hooked{Runs: l}
	reader := openIndex(t, log, keyindex.Events)
	merge := sync.OnceFunc(func() {
		add(t, writer, m.next())
		add(t, writer, m.next())
	})
	log.before = func(start uint64) {
		if start > 0 {
			merge()
		}
	}
	for range 2 {
		matches, err := reader.Find(t.Context(), []uint64{everyRun})
		if err != nil {
			t.Fatal(err)
		}
		if err := wantAll(matches, 7*run); err != nil {
			t.Error(err)
		}
	}
	wantRuns(t, l, keyindex.Events, 8, 1)
}

// TestFindTellsARunFromTheMergedOneAtItsStart has only the first run read, according
// to the filters, and merged just before: the merged run begins at the same entry.
func TestFindTellsARunFromTheMergedOneAtItsStart(t *testing.T) {
	t.Parallel()
	l, m := withSeven(t)
	writer := openIndex(t, l, keyindex.Events)
	log := &hooked{Runs: l}
	reader := openIndex(t, log, keyindex.Events)
	log.before = func(uint64) {
		log.before = nil
		add(t, writer, m.next())
		add(t, writer, m.next())
	}
	asked := append(randomKeys(100), m.keys[5], m.keys[run-2])
	matches, err := reader.Find(t.Context(), asked)
	for _, want := range []keyindex.Match{{Key: 100, Index: 5}, {Key: 101, Index: run - 2}} {
		if err != nil || !slices.Contains(matches, want) {
			t.Errorf("found %v, error %v; want %v too", matches, err, want)
		}
	}
	wantRuns(t, l, keyindex.Events, 8, 1)
}

// TestKeysAreThoseThatAreStored pins what older indexes have in their pages.
func TestKeysAreThoseThatAreStored(t *testing.T) {
	t.Parallel()
	secret := storage.Secret{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	for _, test := range []struct {
		source, id string
		want       uint64
	}{
		// The first 5 bytes of SHA-256(secret || len(source), as 8 bytes || source || id).
		{"", "", 0xcf9c6da389},
		{"/a", "1", 0xd10d075824},
		{"/a1", "", 0xa9206519a1},
	} {
		if got := keyindex.EventKey(secret, test.source, test.id); got != test.want {
			t.Errorf("the key of source %q and id %q is %#x, want %#x", test.source, test.id, got, test.want)
		}
	}
	h := tree.LeafHash([]byte("entry"))
	if got := keyindex.LeafKey(h); got != binary.BigEndian.Uint64(h[:8])>>24 {
		t.Errorf("the key of leaf %s is %#x", h, got)
	}
}

func TestEachLogHasASecretOfItsOwn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		secrets := map[storage.Secret]bool{{}: true}
		for i := range 3 {
			l, err := store.CreateLog(t.Context(), fmt.Sprint("log-", i), fmt.Sprint("log.example/", i))
			if err != nil {
				t.Fatal(err)
			}
			secret, err := keyindex.ReadSecret(t.Context(), l.Runs())
			if err != nil || secrets[secret] {
				t.Errorf("log %d has the secret %x, of all or nobody, error %v", i, secret, err)
			}
			secrets[secret] = true
			if again, err := keyindex.ReadSecret(t.Context(), l.Runs()); err != nil || again != secret {
				t.Errorf("log %d: read again, the secret is %x, error %v, want %x", i, again, err, secret)
			}
		}
	})
}

// byStart orders runs as a database returns them.
func byStart(a, b storage.Run) int { return cmp.Compare(a.Start, b.Start) }

// TestFollowerWritesOnlyWithItsCursor adds to an index whose cursor another server
// has moved: then runs are not even merged.
func TestFollowerWritesOnlyWithItsCursor(t *testing.T) {
	t.Parallel()
	l, err := dbtest.SQLite(t)().CreateLog(t.Context(), "default", "log.example/default")
	if err != nil {
		t.Fatal(err)
	}
	x := openIndex(t, l.Runs(), keyindex.Leaves)
	m := &model{}
	move := storage.Move{Follower: "made-up"}
	follow := func() error {
		move.To = storage.Position{Version: 1, Next: x.End() + run}
		return x.Add(t.Context(), m.next(), &move)
	}
	for range 8 {
		if err := follow(); err != nil {
			t.Fatal(err)
		}
		move.From = move.To
	}
	move.From.Next -= run
	if err := follow(); !errors.Is(err, storage.ErrStale) {
		t.Errorf("error %v, want %q", err, storage.ErrStale)
	}
	wantRuns(t, l.Runs(), keyindex.Leaves, 1, 1, 1, 1, 1, 1, 1, 1)
	move.From.Next += run
	if err := follow(); err != nil {
		t.Fatal(err)
	}
	wantRuns(t, l.Runs(), keyindex.Leaves, 8, 1)
}
