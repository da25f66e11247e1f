package storagetest

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// Entries returns n made-up entries, as they would stand in a log from index
// start on. No two are alike.
func Entries(start uint64, n int) [][]byte {
	entries := make([][]byte, n)
	for i := range entries {
		entries[i] = fmt.Appendf(nil, `{"specversion":"1.0","id":"%d","source":"storagetest","type":"made.up"}`, start+uint64(i))
	}
	return entries
}

// Batch returns the batch that appends entries to the tree whose right edge is
// f, and moves f on. It fails the test if an entry is too large.
func Batch(t testing.TB, epoch uint64, f *tree.Frontier, entries [][]byte) storage.Batch {
	t.Helper()
	batch := storage.Batch{Epoch: epoch, Base: f.Size()}
	for start := f.Size(); len(entries) > 0; {
		n := min(len(entries), tile.Width-int(start%tile.Width))
		var bundle []byte
		var leaves []tree.Hash
		for _, e := range entries[:n] {
			var err error
			if bundle, err = tile.AppendEntry(bundle, e); err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, tree.LeafHash(e))
		}
		batch.Chunks = append(batch.Chunks, storage.EncodeChunk(start, n, bundle))
		batch.Tiles = append(batch.Tiles, f.Append(leaves)...)
		entries = entries[n:]
		start += uint64(n)
	}
	batch.Head = f.Head()
	batch.MAC = batch.Head.Root[:]
	return batch
}

// Grow takes the lead of a log, appends as many made-up entries as sizes say,
// a batch each, gives the lead up and returns the log's head. The log must be
// whole; see [Check].
func Grow(t testing.TB, l storage.Log, sizes ...int) tree.Head {
	t.Helper()
	lease := lead(t, l)
	defer lease.Release()
	f := frontier(Check(t, l))
	for _, n := range sizes {
		commit(t, l, Batch(t, lease.Epoch(), f, Entries(f.Size(), n)))
	}
	return f.Head()
}

// Check fails the test unless the log is whole: the chunks hold each entry up
// to the head once, the entries hash to the head, and the full tiles are those
// that follow from them. It returns the entries.
func Check(t testing.TB, l storage.Log) [][]byte {
	t.Helper()
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := storage.Chunks(t.Context(), l, 0, math.MaxUint64)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, c := range chunks {
		if c.Start != uint64(len(all)) {
			t.Fatalf("a chunk starts at %d, the one before ends at %d", c.Start, len(all))
		}
		entries, err := c.Entries()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
	}
	var f tree.Frontier
	full := f.Append(leafHashes(all))
	if f.Head() != head.Head {
		t.Fatalf("the entries have head %v, stored is %v", f.Head(), head)
	}
	for _, want := range full {
		checkTile(t, l, want)
	}
	return all
}

// checkTile fails the test unless the full tile is stored as it should be.
func checkTile(t testing.TB, l storage.Log, want tree.FullTile) {
	t.Helper()
	data, err := l.Tile(t.Context(), want.Tile.Level, want.Tile.Index)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want.Data) {
		t.Fatalf("%v is stored with other hashes than follow from the entries", want.Tile)
	}
	roots, err := l.TileRoots(t.Context(), want.Tile.Level, want.Tile.Index, want.Tile.Index+1)
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) != 1 || roots[0] != want.Root {
		t.Fatalf("%v is stored with roots %v, want %v", want.Tile, roots, want.Root)
	}
}

// frontier returns the right edge of the tree over entries.
func frontier(entries [][]byte) *tree.Frontier {
	var f tree.Frontier
	f.Append(leafHashes(entries))
	return &f
}

func leafHashes(entries [][]byte) []tree.Hash {
	hashes := make([]tree.Hash, len(entries))
	for i, e := range entries {
		hashes[i] = tree.LeafHash(e)
	}
	return hashes
}

// lead takes the lead of a log, to the end of the test at the latest.
func lead(t testing.TB, l storage.Log) storage.Lease {
	t.Helper()
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	return lease
}

func commit(t testing.TB, l storage.Log, batch storage.Batch) {
	t.Helper()
	if err := l.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}
