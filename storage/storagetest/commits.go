package storagetest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// testCommit: once Commit has returned nil, the head is the batch's and the chunks are
// read back as they were given: neither joined, nor split, nor compressed again. The
// sizes end before, at and after the edges of bundles.
func testCommit(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	lease := lead(t, l)
	var f tree.Frontier
	entries := Entries(0, 700)
	for _, end := range []int{1, 2, 255, 256, 257, 511, 700} {
		batch := Batch(t, lease.Epoch(), &f, entries[f.Size():end])
		commit(t, l, batch)
		if head, err := l.Head(t.Context()); err != nil || head.Head != batch.Head {
			t.Fatalf("head %v, error %v; want %v", head, err, batch.Head)
		}
		got, err := storage.Chunks(t.Context(), l, batch.Base, batch.Head.Size)
		if err != nil || len(got) != len(batch.Chunks) {
			t.Fatalf("%d chunks, error %v; want %d", len(got), err, len(batch.Chunks))
		}
		for i, c := range batch.Chunks {
			if got[i].Start != c.Start || got[i].Count != c.Count || !bytes.Equal(got[i].Data, c.Data) {
				t.Errorf("chunk %d+%d of %d bytes was stored as %d+%d of %d bytes",
					c.Start, c.Count, len(c.Data), got[i].Start, got[i].Count, len(got[i].Data))
			}
		}
	}
	for i, e := range Check(t, l) {
		if !bytes.Equal(e, entries[i]) {
			t.Fatalf("entry %d is %q, want %q", i, e, entries[i])
		}
	}
}

// testHeads: each commit leaves a head, with its base and epoch, beside the empty one, and
// any page of heads comes in order. A page begins with the first head of at least a size.
func testHeads(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	want := []storage.CommittedHead{{Head: tree.Empty()}}
	for epoch, n := range []int{5, 300, 1} {
		head := Grow(t, l, n)
		want = append(want, storage.CommittedHead{Head: head, Base: head.Size - uint64(n), Epoch: uint64(epoch + 1), MAC: head.Root[:]})
	}
	for _, page := range []struct {
		first uint64
		limit int
		want  []storage.CommittedHead
	}{
		{0, 100, want},
		{0, 2, want[:2]},
		{1, 2, want[1:3]},
		{6, 100, want[2:]},
		{306, 100, want[3:]},
		{307, 100, nil},
		{0, 0, nil},
		{math.MaxUint64, 100, nil},
	} {
		got, err := l.Heads(t.Context(), page.first, page.limit)
		if err != nil || !slices.EqualFunc(got, page.want, sameHead) {
			t.Errorf("heads from size %d, %d at most: %v, %v; want %v", page.first, page.limit, got, err, page.want)
		}
	}
}

func sameHead(a, b storage.CommittedHead) bool {
	return a.Head == b.Head && a.Base == b.Base && a.Epoch == b.Epoch && bytes.Equal(a.MAC, b.MAC)
}

// testBatchSizes: how entries were divided into batches leaves no trace in the head or
// the tiles, and the root of each full tile is a hash of the tile above. The log is
// large enough for a tile of level 1.
func testBatchSizes(t *testing.T, create Create) {
	s := newStore(t, create)
	const size = 256*256 + 300 // has a tile of level 1
	whole := Grow(t, newLog(t, s, "whole"), size)
	l := newLog(t, s, "parts")
	random := rand.New(rand.NewPCG(1, 2))
	var sizes []int
	for left := size; left > 0; left -= sizes[len(sizes)-1] {
		sizes = append(sizes, 1+random.IntN(min(left, 6000)))
	}
	if head := Grow(t, l, sizes...); head != whole {
		t.Errorf("grown in %d batches the head is %v, in one %v", len(sizes), head, whole)
	}
	Check(t, l)
	roots, err := l.TileRoots(t.Context(), 0, 0, 256)
	if err != nil || len(roots) != 256 {
		t.Fatalf("%d roots, error %v; want 256", len(roots), err)
	}
	above, err := l.Tile(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, root := range roots {
		if !bytes.Equal(root[:], above[i*tree.HashSize:][:tree.HashSize]) {
			t.Errorf("root %d of level 0 is not hash %d of the tile above", i, i)
		}
	}
}

// testStale: a batch that builds on any but the newest head, older or still to come, is
// refused with ErrStale and nothing of it is stored. A batch that was committed
// is stale too, so a commit sent twice cannot append twice.
func testStale(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	Grow(t, l, 10, 300)
	lease := lead(t, l)
	want, _ := l.Head(t.Context())
	f := frontier(Entries(0, 310))

	for _, base := range []int{0, 5, 10, 309} {
		batch := Batch(t, lease.Epoch(), frontier(Entries(0, base)), Entries(9999, 400))
		wantError(t, "commit on an older base", l.Commit(t.Context(), batch), storage.ErrStale)
	}
	again := Batch(t, lease.Epoch(), frontier(Entries(0, 10)), Entries(10, 300))
	wantError(t, "commit the same again", l.Commit(t.Context(), again), storage.ErrStale)
	Batch(t, 0, f, Entries(310, 1))
	ahead := Batch(t, lease.Epoch(), f, Entries(311, 1))
	wantError(t, "commit on a base to come", l.Commit(t.Context(), ahead), storage.ErrStale)

	if head, err := l.Head(t.Context()); err != nil || !sameHead(head, want) {
		t.Errorf("after refused commits the head is %v, error %v; want %v", head, err, want)
	}
	Check(t, l)
	lease.Release()
	Grow(t, l, 1000)
}

// testRace: of commits on one base, under one epoch, one succeeds and the others get
// ErrStale, whatever their sizes. The heads remain one line even if a sequencer has two
// commits under way by mistake.
func testRace(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	Grow(t, l, 100)
	lease := lead(t, l)
	for round := range 5 {
		f := frontier(Check(t, l))
		batches := make([]storage.Batch, 32)
		for i := range batches {
			batches[i] = Batch(t, lease.Epoch(), f.Clone(), Entries(uint64(1000*(round*32+i)), 1+i*20))
		}
		errs := race(len(batches), func(i int) error { return l.Commit(t.Context(), batches[i]) })
		winner := wantOneWinner(t, errs, storage.ErrStale)
		if head, err := l.Head(t.Context()); err != nil || head.Head != batches[winner].Head {
			t.Fatalf("head %v, error %v; want the winner's, %v", head, err, batches[winner].Head)
		}
	}
	Check(t, l)
}

// testMalformed: the schema itself refuses a batch whose chunks do not cover exactly
// what its head adds, whose chunks or tiles have the wrong shape, or that stores a row
// twice. Not even the parts that are right remain, and the log can go on. The
// error is any: no caller branches on a mistake of its own.
func testMalformed(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	Grow(t, l, 100)
	lease := lead(t, l)
	for name, spoil := range map[string]func(*storage.Batch){
		"no entries":                     func(b *storage.Batch) { *b = storage.Batch{Epoch: b.Epoch, Base: 100, Head: b.Head}; b.Head.Size = 100 },
		"a head that shrinks":            func(b *storage.Batch) { b.Head.Size = 99 },
		"a head beyond the chunks":       func(b *storage.Batch) { b.Head.Size++ },
		"a head before the chunks' end":  func(b *storage.Batch) { b.Head.Size-- },
		"a head that no bigint holds":    func(b *storage.Batch) { b.Head.Size = math.MaxUint64 },
		"no chunks":                      func(b *storage.Batch) { b.Chunks = nil },
		"no first chunk":                 func(b *storage.Batch) { b.Chunks = b.Chunks[1:] },
		"no last chunk":                  func(b *storage.Batch) { b.Chunks = b.Chunks[:2] },
		"a gap":                          func(b *storage.Batch) { b.Chunks = append(b.Chunks[:1:1], b.Chunks[2]) },
		"a chunk twice":                  func(b *storage.Batch) { b.Chunks = append(b.Chunks[:1:1], b.Chunks...) },
		"chunks that overlap":            func(b *storage.Batch) { b.Chunks[1].Start--; b.Chunks[1].Count++ },
		"a chunk across bundles":         func(b *storage.Batch) { b.Chunks[0].Count++; b.Chunks[1].Start++; b.Chunks[1].Count-- },
		"a chunk without entries":        func(b *storage.Batch) { b.Chunks[0].Count = 0 },
		"a tile that is cut":             func(b *storage.Batch) { b.Tiles[0].Data = b.Tiles[0].Data[1:] },
		"a tile at a level there is not": func(b *storage.Batch) { b.Tiles[0].Tile.Level = 8 },
		"no MAC":                         func(b *storage.Batch) { b.MAC = nil },
		"a MAC that is cut":              func(b *storage.Batch) { b.MAC = b.MAC[1:] },
		"a tile twice":                   func(b *storage.Batch) { b.Tiles = append(b.Tiles, b.Tiles[0]) },
	} {
		f := frontier(Entries(0, 100))
		batch := Batch(t, lease.Epoch(), f, Entries(100, 600))
		spoil(&batch)
		if err := l.Commit(t.Context(), batch); err == nil {
			t.Fatalf("a batch with %s was stored", name)
		}
		if got := Check(t, l); len(got) != 100 {
			t.Fatalf("after a batch with %s the log has %d entries, want 100", name, len(got))
		}
		if _, err := l.Tile(t.Context(), 0, 0); err == nil {
			t.Fatalf("a batch with %s left a tile behind", name)
		}
	}
	commit(t, l, Batch(t, lease.Epoch(), frontier(Entries(0, 100)), Entries(100, 600)))
	Check(t, l)
}

// testLargeEntries: the largest chunk there can be, 256 entries of 65,535 bytes that do
// not compress, is stored in one commit and read back.
func testLargeEntries(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	random := rand.NewChaCha8([32]byte{})
	entries := make([][]byte, tile.Width) // one chunk of 16 MiB
	for i := range entries {
		entries[i] = make([]byte, tile.MaxEntry)
		random.Read(entries[i])
	}
	lease := lead(t, l)
	commit(t, l, Batch(t, lease.Epoch(), &tree.Frontier{}, entries))
	for i, e := range Check(t, l) {
		if !bytes.Equal(e, entries[i]) {
			t.Fatalf("entry %d has changed", i)
		}
	}
}
