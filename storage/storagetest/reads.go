package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stele-log/stele/storage"
)

// testChunks: a range of entries is answered with the chunks that hold any of them, in
// order, the first and the last of them whole. A range that is empty, reversed or beyond
// the head, up to the largest uint64, yields none and is no error. An error of f ends
// the reading and is returned as it is.
func testChunks(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	Grow(t, l, 10, 246, 300, 1) // chunks of 10, 246, 256, 44 and 1 entries
	for _, test := range []struct {
		start, end uint64
		want       []uint64 // where the chunks start
	}{
		{0, 0, nil},
		{7, 7, nil},
		{8, 3, nil},
		{0, 1, []uint64{0}},
		{9, 10, []uint64{0}},
		{9, 11, []uint64{0, 10}},
		{10, 11, []uint64{10}},
		{255, 256, []uint64{10}},
		{255, 257, []uint64{10, 256}},
		{511, 513, []uint64{256, 512}},
		{555, 556, []uint64{512}},
		{556, 557, []uint64{556}},
		{0, 557, []uint64{0, 10, 256, 512, 556}},
		{300, math.MaxUint64, []uint64{256, 512, 556}},
		{557, 600, nil},
		{math.MaxInt64, math.MaxUint64, nil},
		{math.MaxUint64, math.MaxUint64, nil},
	} {
		chunks, err := storage.Chunks(t.Context(), l, test.start, test.end)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, c := range chunks {
			got = append(got, c.Start)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("the chunks of %d to %d start at %v, want %v", test.start, test.end, got, test.want)
		}
		err = l.EachChunk(t.Context(), test.start, test.end, func(c storage.Chunk) error {
			if len(chunks) == 0 || c.Start != chunks[0].Start || c.Count != chunks[0].Count || !bytes.Equal(c.Data, chunks[0].Data) {
				t.Errorf("the chunk of %d to %d at %d is not the one of Chunks", test.start, test.end, c.Start)
				return nil
			}
			chunks = chunks[1:]
			return nil
		})
		if err != nil || len(chunks) > 0 {
			t.Errorf("of the chunks of %d to %d, %d are left out, error %v", test.start, test.end, len(chunks), err)
		}
	}
	calls := 0
	err := l.EachChunk(t.Context(), 0, 557, func(storage.Chunk) error { calls++; return errEnough })
	if err != errEnough || calls != 1 {
		t.Errorf("after an error at the first chunk there were %d calls, error %v", calls, err)
	}
}

var errEnough = errors.New("enough")

// testChunksOf: a list of bundles is answered with their chunks, in any order, and none
// for one that does not exist. An error of f ends the reading and is returned as it is.
func testChunksOf(t *testing.T, create Create) {
	s := newStore(t, create)
	l := newLog(t, s, "default")
	Grow(t, newLog(t, s, "other"), 600)
	Grow(t, l, 10, 246, 300, 1) // chunks of 10, 246, 256, 44 and 1 entries
	for _, test := range []struct{ bundles, want []uint64 }{
		{nil, nil},
		{[]uint64{0}, []uint64{0, 10}},
		{[]uint64{1}, []uint64{256}},
		{[]uint64{2, 0}, []uint64{0, 10, 512, 556}},
		{[]uint64{0, 1, 2, 3, 1 << 40}, []uint64{0, 10, 256, 512, 556}},
		{[]uint64{3, 99}, nil},
	} {
		var got []uint64
		err := l.EachChunkOf(t.Context(), test.bundles, func(c storage.Chunk) error {
			got = append(got, c.Start)
			want, err := storage.Chunks(t.Context(), l, c.Start, c.End())
			if err != nil || len(want) != 1 || want[0].Count != c.Count || !bytes.Equal(want[0].Data, c.Data) {
				t.Errorf("the chunk at %d is not the one of Chunks, error %v", c.Start, err)
			}
			return nil
		})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("the chunks of bundles %v start at %v, error %v, want %v", test.bundles, got, err, test.want)
		}
	}
	calls := 0
	err := l.EachChunkOf(t.Context(), []uint64{0, 1}, func(storage.Chunk) error { calls++; return errEnough })
	if err != errEnough || calls != 1 {
		t.Errorf("after an error at the first chunk there were %d calls, error %v", calls, err)
	}
}

// testEachTile: a range of a level yields the full tiles that are there, in order, with
// the bytes of Tile. Tiles that are partial, and those of other logs, are left out, and
// it is no error if none remain.
func testEachTile(t *testing.T, create Create) {
	s := newStore(t, create)
	l := newLog(t, s, "default")
	Grow(t, newLog(t, s, "other"), 2000)
	Grow(t, l, 1000, 24, 30)
	var tiles [4][]byte // all that are full, at level 0
	for i := range tiles {
		var err error
		if tiles[i], err = l.Tile(t.Context(), 0, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		level      int
		start, end uint64
		want       []uint64
	}{
		{0, 0, 0, nil},
		{0, 0, 1, []uint64{0}},
		{0, 1, 3, []uint64{1, 2}},
		{0, 3, 9, []uint64{3}},
		{0, 0, math.MaxUint64, []uint64{0, 1, 2, 3}},
		{0, 4, 9, nil},
		{0, 3, 1, nil},
		{1, 0, 9, nil},
		{0, math.MaxUint64, math.MaxUint64, nil},
	} {
		var got []uint64
		err := l.EachTile(t.Context(), test.level, test.start, test.end, func(index uint64, data []byte) error {
			if index >= 4 || !bytes.Equal(data, tiles[index]) {
				t.Errorf("tile %d of level %d is not the one of Tile", index, test.level)
			}
			got = append(got, index)
			return nil
		})
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("the tiles %d to %d of level %d are %v, error %v; want %v",
				test.start, test.end, test.level, got, err, test.want)
		}
	}
	calls := 0
	err := l.EachTile(t.Context(), 0, 0, 4, func(uint64, []byte) error { calls++; return errEnough })
	if err != errEnough || calls != 1 {
		t.Errorf("after an error at the first tile there were %d calls, error %v", calls, err)
	}
}

// testNotFound: Tile, TileRoots, LastCheckpoint and the reading of a run return
// ErrNotFound for what is not stored, also for levels that no tree has and for indexes
// beyond what a database's integers hold. TileRoots returns all roots or none.
func testNotFound(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	Grow(t, l, 600)
	for _, tile := range []struct {
		level int
		index uint64
	}{{0, 2}, {0, math.MaxUint64}, {0, 1 << 63}, {1, 0}, {7, 0}, {8, 0}, {-1, 0}} {
		_, err := l.Tile(t.Context(), tile.level, tile.index)
		wantError(t, fmt.Sprint("read tile ", tile), err, storage.ErrNotFound)
	}
	for _, span := range []struct{ start, end uint64 }{{0, 3}, {2, 3}, {1, math.MaxUint64}, {1 << 63, 1<<63 + 2}} {
		_, err := l.TileRoots(t.Context(), 0, span.start, span.end)
		wantError(t, fmt.Sprint("read roots of tiles ", span), err, storage.ErrNotFound)
	}
	for _, span := range []struct{ start, end uint64 }{{0, 0}, {5, 5}, {2, 1}} {
		if roots, err := l.TileRoots(t.Context(), 0, span.start, span.end); err != nil || len(roots) != 0 {
			t.Errorf("roots of tiles %v: %v, error %v; want none", span, roots, err)
		}
	}
	_, err := l.LastCheckpoint(t.Context())
	wantError(t, "read the last of no checkpoints", err, storage.ErrNotFound)
	_, err = l.Runs().Pages(t.Context(), storage.Run{Kind: "event", End: 100}, []uint64{1})
	wantError(t, "read pages of a run that is not there", err, storage.ErrNotFound)
	wantError(t, "read a run that is not there",
		l.Runs().EachPage(t.Context(), storage.Run{Kind: "event", End: 100}, func(storage.Page) error { return nil }), storage.ErrNotFound)
}

// testReadersSeeWholeCommits: whatever head a reader sees while another commits, all
// chunks and full tiles below it are there. Readers need no transaction for this: a head
// becomes visible together with the rows it covers, and those never change.
func testReadersSeeWholeCommits(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	failed := make(chan error, 3)
	for range cap(failed) {
		go func() { failed <- readUntilDone(ctx, l) }()
	}
	sizes := slices.Repeat([]int{1, 700, 90}, 20)
	Grow(t, l, sizes...)
	stop()
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	Check(t, l)
}

// readUntilDone reads over and over until ctx ends, in the middle of a read or not.
func readUntilDone(ctx context.Context, l storage.Log) error {
	for ctx.Err() == nil {
		if err := readAll(ctx, l); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// readAll fails unless the newest head is covered by chunks and by full tiles.
func readAll(ctx context.Context, l storage.Log) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	chunks, err := storage.Chunks(ctx, l, 0, head.Size)
	if err != nil {
		return err
	}
	next := uint64(0)
	for _, c := range chunks {
		if c.Start != next {
			return fmt.Errorf("below head %d there is a gap at %d", head.Size, next)
		}
		next = c.End()
	}
	if next < head.Size {
		return fmt.Errorf("below head %d the chunks end at %d", head.Size, next)
	}
	_, err = l.TileRoots(ctx, 0, 0, head.Size/256)
	return err
}

// testReopen: everything that was committed is there when the database is opened again,
// and the log can go on. A closed store refuses to read and to lead.
func testReopen(t *testing.T, create Create) {
	open := create(t)
	s := openStore(t, open)
	l := newLog(t, s, "default")
	head := Grow(t, l, 5, 1000)
	addCheckpoint(t, l, 0, head.Size)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := l.Head(t.Context())
	wantError(t, "read from a closed store", err, storage.ErrUnavailable)
	err = l.EachChunk(t.Context(), 0, 1, func(storage.Chunk) error { return nil })
	wantError(t, "read entries from a closed store", err, storage.ErrUnavailable)
	err = l.AddCheckpoint(t.Context(), storage.Checkpoint{Number: 1, Size: head.Size, Published: time.Now()})
	wantError(t, "write to a closed store", err, storage.ErrUnavailable)
	_, err = l.Lead(t.Context(), "http://here")
	wantError(t, "lead a log through a closed store", err, storage.ErrUnavailable)

	l, err = openStore(t, open).OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(Check(t, l)); got != 1005 {
		t.Errorf("opened again the log has %d entries, want 1005", got)
	}
	if c, err := l.LastCheckpoint(t.Context()); err != nil || c.Size != head.Size {
		t.Errorf("opened again the last checkpoint is %v, error %v", c, err)
	}
	Grow(t, l, 300)
	Check(t, l)
}

// testCancelled: with a context that has ended, a method returns context.Canceled and
// stores nothing; Lead may find first that the log is leased. The same batch can be
// committed afterwards.
func testCancelled(t *testing.T, create Create) {
	s := newStore(t, create)
	l := newLog(t, s, "default")
	lease := lead(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	batch := Batch(t, lease.Epoch(), frontier(nil), Entries(0, 10))
	page := storage.Page{First: 1, Data: []byte("data")}
	calls := map[string]func() error{
		"CreateLog":     func() error { _, err := s.CreateLog(ctx, "two", "log.example/two"); return err },
		"OpenLog":       func() error { _, err := s.OpenLog(ctx, "default"); return err },
		"Logs":          func() error { _, err := s.Logs(ctx); return err },
		"Ping":          func() error { return s.Ping(ctx) },
		"Lead":          func() error { _, err := l.Lead(ctx, "http://here"); return err },
		"Head":          func() error { _, err := l.Head(ctx); return err },
		"Commit":        func() error { return l.Commit(ctx, batch) },
		"EachChunk":     func() error { return l.EachChunk(ctx, 0, 1, func(storage.Chunk) error { return nil }) },
		"EachChunkOf":   func() error { return l.EachChunkOf(ctx, []uint64{0}, func(storage.Chunk) error { return nil }) },
		"EachTile":      func() error { return l.EachTile(ctx, 0, 0, 1, func(uint64, []byte) error { return nil }) },
		"Tile":          func() error { _, err := l.Tile(ctx, 0, 0); return err },
		"AddCheckpoint": func() error { return l.AddCheckpoint(ctx, storage.Checkpoint{Published: time.Now()}) },
		"Replace": func() error {
			return l.Runs().Replace(ctx, storage.Run{Kind: "event", End: 1}, slices.Values([]storage.Page{page}), nil)
		},
		"Filter": func() error { _, err := l.Runs().Filter(ctx, storage.Run{Kind: "event", End: 1}); return err },
		"Drop":   func() error { return l.Runs().Drop(ctx, "event", firstMove) },
		"Move":   func() error { return l.Cursors().Move(ctx, firstMove) },
		"Get":    func() error { _, err := l.Cursors().Get(ctx, "made-up"); return err },
		"Pages": func() error {
			_, err := l.Runs().Pages(ctx, storage.Run{Kind: "event", End: 100}, []uint64{1})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrLeased) {
			t.Errorf("%s with a cancelled context: error %v", name, err)
		}
	}
	if got := Check(t, l); len(got) != 0 {
		t.Errorf("a cancelled commit stored %d entries", len(got))
	}
	commit(t, l, batch)
}
