package engine_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

type dbOpener = func() storage.Store

func TestNamesAndOriginsThatWillDo(t *testing.T) {
	t.Parallel()
	h := start(t, dbtest.SQLite(t)(), t.TempDir())
	long := strings.Repeat("a", 63)
	for _, name := range []string{"a", "0", "a-b", "a--0", long} {
		if _, err := h.Create(t.Context(), engine.NewLog{Name: name, Origin: origin(name)}); err != nil {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for i, o := range []string{"x", "example.com/a/b:8080?c=d&e", "!~", "ticket-office", strings.Repeat("o", 255)} {
		if _, err := h.Create(t.Context(), engine.NewLog{Name: "o" + string(rune('a'+i)), Origin: o}); err != nil {
			t.Errorf("origin %q: %v", o, err)
		}
	}
	before := len(h.Logs())
	for _, name := range []string{"", "-", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "ä", "a\n", "a b", long + "a"} {
		if _, err := h.Create(t.Context(), engine.NewLog{Name: name, Origin: "other"}); !errors.Is(err, engine.ErrBadName) {
			t.Errorf("name %q: error %v, want %q", name, err, engine.ErrBadName)
		}
	}
	for _, o := range []string{"", " ", "a b", "a+b", "a\n", "a\tb", "ä", "\x7f", strings.Repeat("o", 256)} {
		if _, err := h.Create(t.Context(), engine.NewLog{Name: "other", Origin: o}); !errors.Is(err, engine.ErrBadName) {
			t.Errorf("origin %q: error %v, want %q", o, err, engine.ErrBadName)
		}
	}
	if got := len(h.Logs()); got != before {
		t.Errorf("%d logs, want %d", got, before)
	}
}

func TestLogIsCreatedOnce(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		dir := t.TempDir()
		h := start(t, open(), dir)
		l := h.create(t, "one")
		key := read(t, keyFile(dir, "one", "ed25519.key"))
		for _, n := range []engine.NewLog{
			{Name: "one", Origin: origin("one")},
			{Name: "one", Origin: origin("two")},
			{Name: "two", Origin: origin("one")},
			{Name: "one", Origin: origin("one"), MLDSA44: true},
		} {
			if _, err := h.Create(t.Context(), n); !errors.Is(err, storage.ErrExists) {
				t.Errorf("%+v: error %v, want %q", n, err, storage.ErrExists)
			}
		}
		// Created by another server since this one opened its logs.
		if _, err := open().CreateLog(t.Context(), "three", origin("three")); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Create(t.Context(), engine.NewLog{Name: "three", Origin: origin("three")}); !errors.Is(err, storage.ErrExists) {
			t.Errorf("in the database: error %v, want %q", err, storage.ErrExists)
		}
		if read(t, keyFile(dir, "one", "ed25519.key")) != key {
			t.Error("the key has changed")
		}
		if _, err := os.Stat(keyFile(dir, "two", "")); !os.IsNotExist(err) {
			t.Errorf("a folder for a log that was not created: %v", err)
		}
		appendTo(t, l, 0, 1)
		checkLog(t, l, 1)
	})
}

func TestLogsAreFoundByName(t *testing.T) {
	t.Parallel()
	h := start(t, dbtest.SQLite(t)(), t.TempDir())
	if _, err := h.Log("one"); !errors.Is(err, engine.ErrUnknown) {
		t.Errorf("error %v, want %q", err, engine.ErrUnknown)
	}
	for _, name := range []string{"one", "b", "two", "a"} {
		if got := h.create(t, name); got != h.get(t, name) || got.Origin != origin(name) || got.Created.IsZero() {
			t.Errorf("created %+v", got.Info)
		}
	}
	var names []string
	for _, l := range h.Logs() {
		names = append(names, l.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "one", "two"}) {
		t.Errorf("logs %q", names)
	}
}

func TestNewLogIsWrittenToAtOnce(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		store, dir := open(), t.TempDir()
		h := start(t, store, dir)
		l := h.create(t, "one")
		if published, err := l.Publisher.Latest(); err != nil || published.Size != 0 || !l.Sequencer.Leading() {
			t.Errorf("created with checkpoint %v, error %v, leading %v", published, err, l.Sequencer.Leading())
		}
		h.stop()
		if _, err := h.Create(t.Context(), engine.NewLog{Name: "two", Origin: origin("two")}); err == nil {
			t.Error("a log was created on an engine that has stopped")
		}
		// One that is created before Start runs with it.
		h2 := openHost(t, store, dir)
		if _, err := h2.Create(t.Context(), engine.NewLog{Name: "three", Origin: origin("three")}); err != nil {
			t.Fatal(err)
		}
		again := run(t, h2)
		appendTo(t, again.get(t, "three"), 0, 2)
		appendTo(t, again.get(t, "one"), 0, 2)
	})
}

func TestAcceptedEventsArePublishedWhenItStops(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		h := start(t, open(), t.TempDir())
		logs := []*engine.Log{h.create(t, "one"), h.create(t, "two")}
		var accepted [2]atomic.Int64
		var first, wg sync.WaitGroup
		first.Add(2)
		for i, l := range logs {
			wg.Go(func() {
				for n := 0; ; n += 7 {
					results, err := l.Sequencer.Append(t.Context(), events(t, n, 7))
					if err != nil {
						if !errors.Is(err, sequencer.ErrNotLeading) {
							t.Error(err)
						}
						return
					}
					accepted[i].Add(int64(len(results)))
					if n == 70 {
						first.Done()
					}
				}
			})
		}
		first.Wait()
		h.stop()
		wg.Wait()
		for i, l := range logs {
			checkLog(t, l, uint64(accepted[i].Load()))
		}
	})
}

func TestRestartKeepsEverything(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		dir := t.TempDir()
		for round := range 4 {
			leaves := leafindex.New()
			h := start(t, open(), dir, leaves)
			if round == 0 {
				h.create(t, "one")
			}
			l := h.get(t, "one")
			published, err := l.Publisher.Latest()
			if err != nil || published.Size != uint64(round*300) {
				t.Fatalf("round %d: begins with %v, error %v", round, published, err)
			}
			appendTo(t, l, round*300, 300)
			// What was there is known to be.
			results, err := l.Sequencer.Append(t.Context(), events(t, 0, 300))
			if err != nil || results[299].Index != 299 || !results[299].Duplicate {
				t.Fatalf("round %d: an event sent again: %+v, error %v", round, results[299], err)
			}
			if i, err := leaves.Find(t.Context(), l.Reader, results[17].Leaf, published.Size+300); err != nil || i != 17 {
				t.Errorf("round %d: the leaf of entry 17 is at %d, error %v", round, i, err)
			}
			checkLog(t, l, uint64(round+1)*300)
			h.stop()
		}
	})
}

// TestBothKeyIndexesFollow appends as many events as go into the indexes at
// once.
func TestBothKeyIndexesFollow(t *testing.T) {
	t.Parallel()
	l := start(t, dbtest.SQLite(t)(), t.TempDir()).create(t, "one")
	const step = keyindex.RunLength / 8
	for n := 0; n < keyindex.RunLength; n += step {
		appendTo(t, l, n, step)
	}
	for _, kind := range []string{keyindex.Events, keyindex.Leaves} {
		eventually(t, "the index of each "+kind+" has a run", func() bool {
			runs, err := l.Stored.Runs().List(t.Context(), kind)
			return err == nil && len(runs) == 1 && runs[0].End == keyindex.RunLength
		})
	}
}
