package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

const smallCache, bigCache = 0, 64 << 20 // bytes; no Cache holds less than 64 tiles

// create makes a log in a new store.
func create(t *testing.T, open func() storage.Store) storage.Log {
	t.Helper()
	l, err := open().CreateLog(t.Context(), "default", "log.example/default")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// each runs a test with an empty log in each database.
func each(t *testing.T, test func(t *testing.T, l storage.Log)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) { test(t, create(t, open)) })
}

// oddBatches end before, at and after the edges of bundles.
var oddBatches = []int{1, 2, 253, 1, 255, 256, 300, 1, 1, 210, 511, 1, 3, 250, 2}

func TestReaderServesAllTilesWhileTheLogGrows(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		m := newModel(2047)
		small := storage.NewReader(l, storage.NewCache(smallCache))
		big := storage.NewReader(l, storage.NewCache(bigCache))
		before := uint64(0)
		for _, n := range oddBatches {
			size := storagetest.Grow(t, l, n).Size
			m.check(t, small, before, size)
			m.check(t, storage.NewReader(l, storage.NewCache(smallCache)), before, size)
			before = size
		}
		m.check(t, big, 0, before)
		m.check(t, small, 0, before)
		if before != 2047 {
			t.Errorf("the log has %d entries", before)
		}
	})
}

// TestReaderServesTilesOfThreeLevels reads more tiles than the small cache
// holds, around the entry that completes the first tile of level 1.
func TestReaderServesTilesOfThreeLevels(t *testing.T) {
	t.Parallel()
	l := create(t, dbtest.SQLite(t))
	const size = 70_000
	m := newModel(size)
	small := storage.NewReader(l, storage.NewCache(smallCache))
	big := storage.NewReader(l, storage.NewCache(bigCache))
	for _, n := range []int{65_000, 535, 1, size - 65_536} {
		grown := storagetest.Grow(t, l, n).Size
		for _, r := range []*storage.Reader{small, big} {
			m.check(t, r, grown-uint64(min(n, 600)), grown)
		}
	}
	for index := range uint64(size/tile.Width + 1) {
		for _, level := range []int{tile.Entries, 0} {
			at, _ := tile.At(level, index, size)
			data, err := small.ReadTile(t.Context(), at)
			if err != nil || !bytes.Equal(data, m.tile(t, at)) {
				t.Fatalf("%s is not what follows from the entries, error %v", at, err)
			}
		}
	}
	if len(m.hashes) != 3 || len(m.hashes[2]) != 1 {
		t.Errorf("%d levels, want 3", len(m.hashes))
	}
}

func TestRandomBatchesAreReadAsOneBatch(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		m := newModel(900)
		for seed := range uint64(5) {
			l, err := store.CreateLog(t.Context(), fmt.Sprint("log-", seed), fmt.Sprint("log.example/", seed))
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(seed, 1))
			sizes := []int{900} // seed 0 is the one batch
			if seed > 0 {
				sizes = nil
				for left := 900; left > 0; {
					n := 1 + random.IntN(min(left, 1<<random.IntN(10)))
					sizes = append(sizes, n)
					left -= n
				}
			}
			storagetest.Grow(t, l, sizes...)
			m.check(t, storage.NewReader(l, storage.NewCache(smallCache)), 0, 900)
			if t.Failed() {
				t.Fatalf("batches of %v", sizes)
			}
		}
	})
}

func TestLogsDoNotSeeOneAnothersTilesInACache(t *testing.T) {
	t.Parallel()
	store, cache := dbtest.SQLite(t)(), storage.NewCache(bigCache)
	var readers []*storage.Reader
	for _, name := range []string{"one", "two"} {
		l, err := store.CreateLog(t.Context(), name, "log.example/"+name)
		if err != nil {
			t.Fatal(err)
		}
		lease, err := l.Lead(t.Context(), "http://here")
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release()
		var f tree.Frontier
		if err := l.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), &f, [][]byte{[]byte(name)})); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, storage.NewReader(l, cache))
	}
	for range 2 {
		for i, name := range []string{"one", "two"} {
			if leaf, err := readers[i].ReadLeaf(t.Context(), 0); err != nil || leaf != tree.LeafHash([]byte(name)) {
				t.Errorf("log %s: leaf %s, error %v", name, leaf, err)
			}
		}
	}
}

// TestFramesAreTheBundle reads every bundle in every width: its frames, where
// it ends with a chunk, are its bytes.
func TestFramesAreTheBundle(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		size := storagetest.Grow(t, l, oddBatches[:10]...).Size
		chunks, err := storage.Chunks(t.Context(), l, 0, size)
		if err != nil {
			t.Fatal(err)
		}
		ends := map[uint64]bool{}
		for _, c := range chunks {
			ends[c.End()] = true
		}
		m, r := newModel(size), storage.NewReader(l, storage.NewCache(smallCache))
		for end := uint64(1); end <= size; end++ {
			at, _ := tile.At(tile.Entries, (end-1)/tile.Width, end)
			frames, ok, err := r.Frames(t.Context(), at)
			if err != nil || ok != ends[end] {
				t.Fatalf("%s: frames %v, error %v; want %v", at, ok, err, ends[end])
			}
			if ok && !bytes.Equal(decompress(t, frames), m.tile(t, at)) {
				t.Errorf("the frames of %s are not its bytes", at)
			}
		}
		if _, _, err := r.Frames(t.Context(), tile.Tile{Level: tile.Entries, Index: size / 256, Width: 256}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("frames beyond the end: error %v", err)
		}
	})
}

func decompress(t *testing.T, frames [][]byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data, err := d.DecodeAll(slices.Concat(frames...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReaderServesEntriesAndNodes(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		size := storagetest.Grow(t, l, 1, 254, 2, 300, 43).Size
		m, r := newModel(size), storage.NewReader(l, storage.NewCache(smallCache))
		for i, want := range m.entries {
			if got, err := r.ReadEntry(t.Context(), uint64(i)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("entry %d is %q, error %v", i, got, err)
			}
			if got, err := r.ReadLeaf(t.Context(), uint64(i)); err != nil || got != tree.LeafHash(want) {
				t.Fatalf("leaf %d is %s, error %v", i, got, err)
			}
		}
		rows := m.hashes[0] // of all full subtrees, by height
		for height := uint(0); len(rows) > 0; height++ {
			for i, want := range rows {
				if got, err := tree.ReadNode(t.Context(), r, height, uint64(i)); err != nil || got != want {
					t.Fatalf("node %d at height %d is %s, error %v", i, height, got, err)
				}
			}
			var above []tree.Hash
			for pair := range slices.Chunk(rows[:len(rows)/2*2], 2) {
				above = append(above, tree.NodeHash(pair[0], pair[1]))
			}
			rows = above
		}
	})
}

func TestNothingIsBeyondTheEnd(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := storage.NewReader(l, storage.NewCache(smallCache))
		for _, n := range []int{0, 300, 212} {
			size := uint64(0)
			if n > 0 {
				size = storagetest.Grow(t, l, n).Size
			}
			for _, at := range []tile.Tile{
				{Level: 0, Index: size / 256, Width: int(size%256) + 1},
				{Level: 0, Index: size/256 + 1, Width: 1},
				{Level: tile.Entries, Index: size / 256, Width: int(size%256) + 1},
				{Level: tile.Entries, Index: size/256 + 1, Width: 256},
				{Level: 1, Index: 0, Width: int(size/256) + 1},
				{Level: 1, Index: 0, Width: 256},
				{Level: 1, Index: 1, Width: 1},
				{Level: 2, Index: 0, Width: 1},
				{Level: 7, Index: 0, Width: 1},
				{Level: 0, Index: 1<<56 - 1, Width: 256},
				{Level: tile.Entries, Index: 1<<56 - 1, Width: 256},
			} {
				if data, err := r.ReadTile(t.Context(), at); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s of %d entries: %d bytes, error %v", at, size, len(data), err)
				}
			}
			for _, index := range []uint64{size, size + 1, math.MaxInt64, math.MaxUint64} {
				if _, err := r.ReadEntry(t.Context(), index); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("entry %d of %d: error %v", index, size, err)
				}
			}
		}
	})
}

func TestReaderServesTheNewestCheckpoint(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		r := storage.NewReader(l, storage.NewCache(smallCache))
		if _, err := r.ReadCheckpoint(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no checkpoint: error %v", err)
		}
		for n := range uint64(2) {
			note := fmt.Append(nil, "note ", n)
			if err := l.AddCheckpoint(t.Context(), storage.Checkpoint{Number: n, Note: note, Published: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if got, err := r.ReadCheckpoint(t.Context()); err != nil || !bytes.Equal(got, note) {
				t.Errorf("the checkpoint is %q, error %v; want %q", got, err, note)
			}
		}
	})
}

// A tampered is a log whose chunks are not what was stored.
type tampered struct {
	storage.Log
	change func([]storage.Chunk) []storage.Chunk
}

func (l tampered) EachChunk(ctx context.Context, start, end uint64, f func(storage.Chunk) error) error {
	chunks, err := storage.Chunks(ctx, l.Log, start, end)
	for _, c := range l.change(chunks) {
		if err := f(c); err != nil {
			return err
		}
	}
	return err
}

func TestDamagedChunksAreNamed(t *testing.T) {
	t.Parallel()
	l := create(t, dbtest.SQLite(t))
	storagetest.Grow(t, l, 100, 56, 50) // full tiles would be stored
	tests := []struct {
		name, place string
		change      func(storage.Chunk) []storage.Chunk // of the chunk of entries 100 to 155
	}{
		{"a byte changed", "entries 100 to 155", func(c storage.Chunk) []storage.Chunk {
			c.Data = bytes.Clone(c.Data)
			c.Data[len(c.Data)/2] ^= 1
			return []storage.Chunk{c}
		}},
		{"other entries", "entries 100 to 155", func(c storage.Chunk) []storage.Chunk {
			return []storage.Chunk{storage.EncodeChunk(c.Start, c.Count, []byte{0, 1, 'x'})}
		}},
		{"missing", "100", func(storage.Chunk) []storage.Chunk { return nil }},
		{"twice", "156", func(c storage.Chunk) []storage.Chunk { return []storage.Chunk{c, c} }},
	}
	for _, test := range tests {
		r := storage.NewReader(tampered{l, func(chunks []storage.Chunk) []storage.Chunk {
			if i := slices.IndexFunc(chunks, func(c storage.Chunk) bool { return c.Start == 100 }); i >= 0 {
				return slices.Concat(chunks[:i:i], test.change(chunks[i]), chunks[i+1:])
			}
			return chunks
		}}, storage.NewCache(smallCache))
		for _, at := range []tile.Tile{{Level: tile.Entries, Width: 206}, {Level: tile.Entries, Width: 200}, {Width: 200}} {
			_, err := r.ReadTile(t.Context(), at)
			if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), test.place) {
				t.Errorf("%s: %s: error %v, want %q with %q", test.name, at, err, storage.ErrDamaged, test.place)
			}
		}
		if data, err := r.ReadTile(t.Context(), tile.Tile{Level: tile.Entries, Width: 99}); err != nil || len(data) == 0 {
			t.Errorf("%s: what lies before it: error %v", test.name, err)
		}
	}
}

// TestConcurrentReadersOfAGrowingLog reads what each head that they see
// implies.
func TestConcurrentReadersOfAGrowingLog(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		sizes := slices.Repeat([]int{1, 130, 3, 256}, 8)
		m := newModel(8 * (1 + 130 + 3 + 256))
		r := storage.NewReader(l, storage.NewCache(smallCache))
		var done atomic.Bool
		failed := make(chan error, 4)
		for seed := range uint64(cap(failed)) {
			go func() {
				random := rand.New(rand.NewPCG(seed, 2))
				var err error
				for err == nil && !done.Load() {
					err = m.readSome(t, l, r, random)
				}
				failed <- err
			}()
		}
		storagetest.Grow(t, l, sizes...)
		done.Store(true)
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	})
}
