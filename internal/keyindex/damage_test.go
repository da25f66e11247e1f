package keyindex_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/storage"
)

// A tampered is an index that is not what was stored.
type tampered struct {
	storage.Runs
	runs   func([]storage.Run) []storage.Run // if not nil
	filter func([]byte) []byte               // if not nil, of the second run
	page   func(storage.Page) []storage.Page // if not nil
}

func (l *tampered) List(ctx context.Context, kind string) ([]storage.Run, error) {
	runs, err := l.Runs.List(ctx, kind)
	if l.runs == nil || err != nil {
		return runs, err
	}
	runs = l.runs(runs)
	slices.SortFunc(runs, byStart)
	return runs, nil
}

func (l *tampered) Filter(ctx context.Context, r storage.Run) ([]byte, error) {
	filter, err := l.Runs.Filter(ctx, r)
	if l.filter == nil || r.Start != run || err != nil {
		return filter, err
	}
	return l.filter(bytes.Clone(filter)), nil
}

func (l *tampered) Pages(ctx context.Context, run storage.Run, keys []uint64) ([]storage.Page, error) {
	pages, err := l.Runs.Pages(ctx, run, keys)
	if l.page == nil || err != nil {
		return pages, err
	}
	for i, p := range pages {
		pages[i] = l.page(p)[0]
	}
	return pages, nil
}

func (l *tampered) EachPage(ctx context.Context, run storage.Run, f func(storage.Page) error) error {
	if l.page == nil {
		return l.Runs.EachPage(ctx, run, f)
	}
	return l.Runs.EachPage(ctx, run, func(p storage.Page) error {
		for _, p := range l.page(p) {
			if err := f(p); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantDamaged(t *testing.T, what string, err error, place string) {
	t.Helper()
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), place) {
		t.Errorf("%s: error %v, want %q with %q", what, err, storage.ErrDamaged, place)
	}
}

func TestDamagedRunsAreRefused(t *testing.T) {
	t.Parallel()
	stored, _ := withSeven(t)
	l := &tampered{Runs: stored}
	const second = "entries 65536 to 131072"
	for name, test := range map[string]struct {
		place string
		runs  func([]storage.Run) []storage.Run
	}{
		"the first run missing": {second, func(runs []storage.Run) []storage.Run { return runs[1:] }},
		"a run missing in between": {"entries 131072 to 196608", func(runs []storage.Run) []storage.Run {
			return slices.Delete(runs, 1, 2)
		}},
		"a run that overlaps the next": {"entries 131072 to 196608", func(runs []storage.Run) []storage.Run {
			runs[1].End++
			return runs
		}},
	} {
		l.runs = test.runs
		_, err := keyindex.Open(t.Context(), l, keyindex.Events)
		wantDamaged(t, name, err, test.place)
	}
}

// TestDamagedFiltersAreReportedAndNotUsed: without a filter everything is found
// all the same.
func TestDamagedFiltersAreReportedAndNotUsed(t *testing.T) {
	t.Parallel()
	stored, m := withSeven(t)
	l := &tampered{Runs: stored}
	for name, change := range map[string]func([]byte) []byte{
		"a bit flipped":         func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"a wrong checksum":      func(b []byte) []byte { b[0] ^= 1; return b },
		"cut off":               func(b []byte) []byte { return b[:len(b)-1] },
		"of 3 bytes":            func(b []byte) []byte { return b[:3] },
		"missing":               func([]byte) []byte { return nil },
		"a checksum of nothing": func([]byte) []byte { return make([]byte, 4) },
		"too short":             func(b []byte) []byte { return checked(b[4 : len(b)-8]) },
		"too long":              func(b []byte) []byte { return checked(append(b[4:], make([]byte, 8)...)) },
	} {
		l.filter = change
		x := openIndex(t, l, keyindex.Events)
		wantDamaged(t, name, x.LoadFilters(t.Context()), "entries 65536 to 131072")
		l.filter = func([]byte) []byte { panic("read again") }
		m.check(t, x, append(m.sample()[:100], m.keys[run:run+50]...))
	}
}

// checked returns what a filter consists of with the right checksum before it.
func checked(filter []byte) []byte {
	sum := crc32.Checksum(filter, crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(nil, sum), filter...)
}

// TestRunAcrossOthersIsDamaged stores a run that no index makes: where it begins
// tells which place its filter would take in memory.
func TestRunAcrossOthersIsDamaged(t *testing.T) {
	t.Parallel()
	stored, _ := withSeven(t)
	across := storage.Run{Kind: keyindex.Events, Start: run, End: 3 * run, Filter: []byte("filter")}
	if err := stored.Replace(t.Context(), across, slices.Values[[]storage.Page](nil), nil); err != nil {
		t.Fatal(err)
	}
	x := openIndex(t, stored, keyindex.Events)
	wantDamaged(t, "the filter", x.LoadFilters(t.Context()), "no run of this length begins there")
}

// TestFiltersAreNotNeeded looks for few keys, and before filters are read.
func TestFiltersAreNotNeeded(t *testing.T) {
	t.Parallel()
	stored, m := withSeven(t)
	l := &tampered{Runs: stored, filter: func([]byte) []byte { return nil }}
	x := openIndex(t, l, keyindex.Events)
	m.check(t, x, m.keys[run:run+20])
	l.filter = nil
	if err := x.LoadFilters(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.filter = func([]byte) []byte { panic("read again") }
	m.check(t, x, m.sample())
}

func TestDamagedPagesAreRefused(t *testing.T) {
	t.Parallel()
	stored, m := withSeven(t)
	add(t, openIndex(t, stored, keyindex.Events), m.next())
	l := &tampered{Runs: stored}
	for name, page := range map[string]func(storage.Page) []storage.Page{
		"cut off": func(p storage.Page) []storage.Page {
			return []storage.Page{{First: p.First, Data: p.Data[:len(p.Data)-1]}}
		},
		"missing": func(p storage.Page) []storage.Page {
			if p.First == 0 {
				return nil
			}
			return []storage.Page{p}
		},
		"out of order": func(p storage.Page) []storage.Page {
			p.First %= 1 << 39
			return []storage.Page{p}
		},
		"twice": func(p storage.Page) []storage.Page {
			if p.First == 0 {
				return []storage.Page{p, p}
			}
			return []storage.Page{p}
		},
	} {
		l.page = page
		x := openIndex(t, l, keyindex.Events)
		if name == "cut off" {
			_, err := x.Find(t.Context(), m.keys[1:2])
			wantDamaged(t, "find on a page that is cut off", err, "find in "+keyindex.Events+" index")
		}
		wantDamaged(t, "merge a page that is "+name, x.Add(t.Context(), make([]uint64, run), nil), "merge runs of "+keyindex.Events+" index")
		if x.End() != 8*run {
			t.Errorf("a page is %s: after an error the index ends at %d", name, x.End())
		}
	}
	l.page = nil
	m.check(t, openIndex(t, l, keyindex.Events), m.sample())
}

// TestIndexThatHasShrunkIsNotBelieved drops the index under the feet of one
// that is open: who asks does not read the entries that were in it.
func TestIndexThatHasShrunkIsNotBelieved(t *testing.T) {
	t.Parallel()
	stored, m := withSeven(t)
	l := &tampered{Runs: stored}
	x := openIndex(t, l, keyindex.Events)
	dropped := storage.Run{Kind: keyindex.Events, Start: 0, End: 7 * run, Filter: []byte{}}
	if err := stored.Replace(t.Context(), dropped, slices.Values[[]storage.Page](nil), nil); err != nil {
		t.Fatal(err)
	}
	l.runs = func([]storage.Run) []storage.Run { return nil }
	_, err := x.Find(t.Context(), m.keys[run:run+1])
	wantDamaged(t, "find in an index that was dropped", err, "it ended at entry 458752, now at 0")
}
