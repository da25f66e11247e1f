package tree_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func TestHeadsAgreeWithTlog(t *testing.T) {
	t.Parallel()
	const largest = 65540
	other := newTlogTree(t, largest)
	var f tree.Frontier
	if f.Head() != tree.Empty() {
		t.Errorf("the zero Frontier has the head %s", f.Head())
	}
	for size := uint64(1); size <= largest; size++ {
		f.Append(leaves(size-1, size))
		if f.Size() != size {
			t.Fatalf("size is %d, want %d", f.Size(), size)
		}
		if size > 600 && size < 65530 && size%4099 != 0 {
			continue
		}
		if got, want := f.Head(), other.head(t, size); got != want {
			t.Fatalf("head is %s, tlog has %s", got, want)
		}
	}
}

func TestFullTilesAgreeWithTlog(t *testing.T) {
	t.Parallel()
	const size = 66000
	got := tiles{}
	var f tree.Frontier
	full := f.Append(leaves(0, size))
	got.add(full)
	want := newTlogTree(t, size).readTiles(t, size)
	maps.DeleteFunc(want, func(t tile.Tile, _ []byte) bool { return !t.IsFull() })
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d full tiles, not the %d of tlog", len(got), len(want))
	}
	for _, ft := range full {
		hashes, err := tree.SplitTile(ft.Data, tile.Width)
		if err != nil {
			t.Fatal(err)
		}
		if root, ok := tree.NewNodes(hashes).Node(8, 0); !ok || root != ft.Root {
			t.Errorf("%s says that its hash is %s, and it is %s", ft.Tile, ft.Root, root)
		}
	}
}

func TestBatchesDoNotMatter(t *testing.T) {
	t.Parallel()
	const size = 140_000
	all := leaves(0, size)
	var once tree.Frontier
	wantTiles := once.Append(all)
	for round := range uint64(6) {
		rng := rand.New(rand.NewPCG(round, 7))
		var f tree.Frontier
		var full []tree.FullTile
		for rest := all; len(rest) > 0; {
			n := min(len(rest), rng.IntN(1<<rng.IntN(17)+1))
			full = append(full, f.Append(rest[:n])...)
			rest = rest[n:]
		}
		if f.Head() != once.Head() {
			t.Errorf("round %d: head is %s, in one batch %s", round, f.Head(), once.Head())
		}
		if !slices.EqualFunc(full, wantTiles, equalTiles) {
			t.Errorf("round %d: %d tiles, not the %d of one batch", round, len(full), len(wantTiles))
		}
	}
}

// TestTilesAreAppendedLikeTheirLeaves appends some tiles by their roots.
func TestTilesAreAppendedLikeTheirLeaves(t *testing.T) {
	t.Parallel()
	const size = 140_000
	all := leaves(0, size)
	var want tree.Frontier
	wantTiles := slices.DeleteFunc(want.Append(all), func(ft tree.FullTile) bool { return ft.Tile.Level == 0 })
	for round := range uint64(4) {
		rng := rand.New(rand.NewPCG(round, 8))
		var f tree.Frontier
		var full []tree.FullTile
		for hashes := range slices.Chunk(all, tile.Width) {
			if len(hashes) < tile.Width || round > 0 && rng.IntN(2) == 0 {
				full = append(full, f.Append(hashes)...)
			} else {
				full = append(full, f.AppendTile(tree.TileRoot(hashes))...)
			}
		}
		full = slices.DeleteFunc(full, func(ft tree.FullTile) bool { return ft.Tile.Level == 0 })
		if f.Head() != want.Head() {
			t.Errorf("round %d: head is %s, want %s", round, f.Head(), want.Head())
		}
		if !slices.EqualFunc(full, wantTiles, equalTiles) {
			t.Errorf("round %d: %d tiles, not the %d of the leaves", round, len(full), len(wantTiles))
		}
		for level := range 4 {
			if !slices.Equal(f.Partial(level), want.Partial(level)) || (f.Partial(level) == nil) != (want.Partial(level) == nil) {
				t.Errorf("round %d: the partial tile at level %d is not that of the leaves", round, level)
			}
		}
	}
}

func equalTiles(a, b tree.FullTile) bool {
	return a.Tile == b.Tile && a.Root == b.Root && bytes.Equal(a.Data, b.Data)
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{0, 1, 255, 256, 300, 65535, 65536} {
		var f tree.Frontier
		f.Append(leaves(0, size))
		head := f.Head()
		c := f.Clone()
		c.Append(leaves(9000, 9300))
		if f.Head() != head {
			t.Errorf("size %d: appending to the clone has changed the original", size)
		}
		d := f.Clone()
		full, fullD := f.Append(leaves(size, size+700)), d.Append(leaves(size, size+700))
		if f.Head() != d.Head() || !slices.EqualFunc(full, fullD, equalTiles) {
			t.Errorf("size %d: the clone grows into another tree", size)
		}
	}
}

func TestReadFrontierGoesOnWhereTheTreeWas(t *testing.T) {
	t.Parallel()
	const largest = 66_500
	all := leaves(0, largest)
	other := newTlogTree(t, largest)
	sizes := []uint64{
		0, 1, 2, 3, 7, 8, 100, 255, 256, 257, 511, 512, 513, 600, 1000, 65279, 65280, 65281,
		65535, 65536, 65537, 65792, 66000, 66048,
	}
	for _, size := range sizes {
		f, err := tree.ReadFrontier(t.Context(), other.readTiles(t, size), size)
		if err != nil {
			t.Fatal(err)
		}
		if f.Size() != size || f.Head() != other.head(t, max(size, 1)) && size > 0 {
			t.Fatalf("size %d: the head is %s", size, f.Head())
		}
		if size == 0 && f.Head() != tree.Empty() {
			t.Fatalf("the head of the empty tree is %s", f.Head())
		}
		var whole tree.Frontier
		whole.Append(all[:size])
		want, got := whole.Append(all[size:]), f.Append(all[size:])
		if f.Head() != whole.Head() || !slices.EqualFunc(got, want, equalTiles) {
			t.Errorf("size %d: it grows into another tree: %s, %d tiles", size, f.Head(), len(got))
		}
	}
}

func TestReadFrontierRefuses(t *testing.T) {
	t.Parallel()
	other := newTlogTree(t, 300)
	_, err := tree.ReadFrontier(t.Context(), tiles{}, 300)
	wantError(t, err, "read frontier of size 300: read tile/0/001.p/44")
	cut := other.readTiles(t, 300)
	at := tile.Tile{Level: 0, Index: 1, Width: 44}
	cut[at] = cut[at][:1000]
	_, err = tree.ReadFrontier(t.Context(), cut, 300)
	wantError(t, err, "tile has 1000 bytes, want 1408 for 44 hashes")

	wrong := other.readTiles(t, 300)
	wrong[at] = bytes.Clone(wrong[at])
	wrong[at][5] ^= 1
	f, err := tree.ReadFrontier(t.Context(), wrong, 300)
	if err != nil || f.Head() == other.head(t, 300) {
		t.Errorf("a wrong tile does not show in the head (%v)", err)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}

func FuzzBatches(f *testing.F) {
	f.Add([]byte{1, 2, 3, 255, 255, 0, 1})
	f.Add(bytes.Repeat([]byte{255}, 20))
	f.Fuzz(func(t *testing.T, batches []byte) {
		var got, want tree.Frontier
		var full []tree.FullTile
		for _, n := range batches[:min(len(batches), 64)] {
			full = append(full, got.Append(leaves(got.Size(), got.Size()+uint64(n)))...)
		}
		once := want.Append(leaves(0, got.Size()))
		if got.Head() != want.Head() || !slices.EqualFunc(full, once, equalTiles) {
			t.Fatalf("batches of %v give %s, one batch %s", batches, got.Head(), want.Head())
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	batch := leaves(0, 4096)
	var f tree.Frontier
	b.ReportAllocs()
	for b.Loop() {
		f.Append(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(f.Size()), "ns/entry")
}
