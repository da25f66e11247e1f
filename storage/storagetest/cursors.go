package storagetest

import (
	"math"
	"slices"
	"testing"

	"github.com/stele-log/stele/storage"
)

// at is a position of version 1.
func at(next uint64) storage.Position { return storage.Position{Version: 1, Next: next} }

// firstMove gives a follower its cursor.
var firstMove = storage.Move{Follower: "made-up", To: at(100)}

// wantCursor fails the test unless a follower's cursor stands at want.
func wantCursor(t *testing.T, l storage.Log, follower string, want storage.Position) {
	t.Helper()
	if got, err := l.Cursors().Get(t.Context(), follower); err != nil || got != want {
		t.Errorf("the cursor of %s stands at %+v, error %v; want %+v", follower, got, err, want)
	}
}

// testMoveCursor: a move is a compare-and-swap of version and index together, and fails
// with ErrStale unless the cursor stands where it starts. A follower that has no cursor
// stands at the zero Position. A cursor may go back, with a new version, to build again;
// it never returns to having no position. Followers and logs have cursors of their own.
func testMoveCursor(t *testing.T, create Create) {
	s := newStore(t, create)
	l, other := newLog(t, s, "one"), newLog(t, s, "two")
	wantCursor(t, l, "made-up", storage.Position{})
	none, far, newer := storage.Position{}, at(math.MaxInt64), storage.Position{Version: 2, Next: 0}
	for _, step := range []struct {
		from, to storage.Position
		want     error
	}{
		{at(0), at(10), storage.ErrStale}, // there is none yet
		{none, at(10), nil},
		{none, at(10), storage.ErrStale}, // there is one already
		{at(0), at(20), storage.ErrStale},
		{at(11), at(20), storage.ErrStale},
		{storage.Position{Version: 2, Next: 10}, at(20), storage.ErrStale},
		{at(10), at(20), nil},
		{at(10), at(20), storage.ErrStale},
		{at(20), at(20), nil}, // it stays
		{at(20), far, nil},
		{far, newer, nil}, // back, with another version
		{far, newer, storage.ErrStale},
		{at(0), at(1), storage.ErrStale},
	} {
		before, err := l.Cursors().Get(t.Context(), "made-up")
		if err != nil {
			t.Fatal(err)
		}
		err = l.Cursors().Move(t.Context(), storage.Move{Follower: "made-up", From: step.from, To: step.to})
		if step.want != nil {
			wantError(t, "move a cursor that stands elsewhere", err, step.want)
			wantCursor(t, l, "made-up", before)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		wantCursor(t, l, "made-up", step.to)
	}
	for _, to := range []storage.Position{{}, {Version: -1, Next: 5}, {Version: 2, Next: math.MaxUint64}} {
		if err := l.Cursors().Move(t.Context(), storage.Move{Follower: "made-up", From: newer, To: to}); err == nil {
			t.Errorf("the cursor was moved to %+v", to)
		}
	}
	wantCursor(t, l, "made-up", newer)
	wantCursor(t, l, "another", none)
	wantCursor(t, other, "made-up", none)
}

// testMoveRace: of those that move a cursor from one position at once, one succeeds and
// the others get ErrStale. This also holds for the first move, when there is no row yet
// that a database could lock.
func testMoveRace(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	for from := (storage.Position{}); from.Next < 5; {
		to := at(from.Next + 1)
		wantOneWinner(t, race(16, func(int) error {
			return l.Cursors().Move(t.Context(), storage.Move{Follower: "made-up", From: from, To: to})
		}), storage.ErrStale)
		from = to
	}
	wantCursor(t, l, "made-up", at(5))
}

// testReplaceRunsWithCursor: a run and the move of its follower's cursor are stored in
// one transaction. A stale move stores no run, and a run that cannot be stored moves no
// cursor: after any crash the cursor tells what is there.
func testReplaceRunsWithCursor(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	store := func(start, end uint64, from storage.Position, pages ...storage.Page) error {
		return l.Runs().Replace(t.Context(), storage.Run{Kind: "leaf", Start: start, End: end, Filter: spanOf(start, end)},
			slices.Values(pages), &storage.Move{Follower: "made-up", From: from, To: at(end)})
	}
	if err := store(0, 100, storage.Position{}); err != nil {
		t.Fatal(err)
	}
	wantCursor(t, l, "made-up", at(100))
	for _, from := range []storage.Position{{}, at(99), {Version: 2, Next: 100}} {
		wantError(t, "store a run behind a cursor that stands elsewhere", store(100, 200, from), storage.ErrStale)
	}
	wantRuns(t, l, "leaf", "[0,100) ")
	page := storage.Page{First: 1, Data: []byte("page")}
	if err := store(100, 200, at(100), page, page); err == nil {
		t.Error("a run with a page twice was stored")
	}
	wantCursor(t, l, "made-up", at(100))
	if err := store(100, 200, at(100), page); err != nil {
		t.Fatal(err)
	}
	wantCursor(t, l, "made-up", at(200))
	wantRuns(t, l, "leaf", "[0,100) [100,200) ")

	wantOneWinner(t, race(8, func(int) error { return store(200, 300, at(200), page) }), storage.ErrStale)
	wantCursor(t, l, "made-up", at(300))
	wantRuns(t, l, "leaf", "[0,100) [100,200) [200,300) ")
}

// testDropRuns: the runs of one kind in one log are dropped together with the move, or
// remain if the move is stale. Other kinds and other logs keep theirs.
func testDropRuns(t *testing.T, create Create) {
	s := newStore(t, create)
	l, other := newLog(t, s, "one"), newLog(t, s, "two")
	for start := uint64(0); start < 300; start += 100 {
		replace(t, l, "leaf", start, start+100)
	}
	replace(t, l, "event", 0, 100)
	replace(t, other, "leaf", 0, 100)
	if err := l.Cursors().Move(t.Context(), firstMove); err != nil {
		t.Fatal(err)
	}
	again := storage.Position{Version: 2}
	wantError(t, "drop runs behind a cursor that stands elsewhere",
		l.Runs().Drop(t.Context(), "leaf", storage.Move{Follower: "made-up", From: at(99), To: again}), storage.ErrStale)
	wantRuns(t, l, "leaf", "[0,100) [100,200) [200,300) ")
	wantCursor(t, l, "made-up", at(100))

	if err := l.Runs().Drop(t.Context(), "leaf", storage.Move{Follower: "made-up", From: at(100), To: again}); err != nil {
		t.Fatal(err)
	}
	wantRuns(t, l, "leaf", "")
	wantRuns(t, l, "event", "[0,100) ")
	wantRuns(t, other, "leaf", "[0,100) ")
	wantCursor(t, l, "made-up", again)
	_, err := l.Runs().Pages(t.Context(), storage.Run{Kind: "leaf", End: 100}, []uint64{1})
	wantError(t, "read pages of a run that was dropped", err, storage.ErrNotFound)
}
