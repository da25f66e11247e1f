package tree_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// bundleOf returns the bundle of the entries from index from up to to.
func bundleOf(t testing.TB, from, to uint64) (bundle []byte) {
	t.Helper()
	for i := from; i < to; i++ {
		var err error
		if bundle, err = tile.AppendEntry(bundle, entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	return bundle
}

// withBundles adds the bundles of a tree of the given size to tiles.
func withBundles(t testing.TB, r tiles, size uint64) tiles {
	t.Helper()
	for i := uint64(0); ; i++ {
		at, ok := tile.At(tile.Entries, i, size)
		if !ok {
			return r
		}
		r[at] = bundleOf(t, at.Start(), at.Start()+uint64(at.Width))
	}
}

// watched calls a function before each read.
type watched struct {
	tiles
	before func(context.Context, tile.Tile) error
}

func (r watched) ReadTile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if err := r.before(ctx, t); err != nil {
		return nil, err
	}
	return r.tiles.ReadTile(ctx, t)
}

func TestBundlesComeInOrderWithTheirHashes(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{0, 1, 255, 256, 257, 700, 12_800, 12_900} {
		synctest.Test(t, func(t *testing.T) {
			r := watched{withBundles(t, tiles{}, size), func(_ context.Context, at tile.Tile) error {
				time.Sleep(time.Duration(at.Index*7%5) * time.Second) // so that later ones are read sooner
				return nil
			}}
			for _, start := range []uint64{0, 1, 255, 256, 300, size} {
				next := start / tile.Width * tile.Width
				for b, err := range tree.Bundles(t.Context(), r, start, size) {
					if err != nil {
						t.Fatal(err)
					}
					end := min(next+tile.Width, size)
					want := tree.Bundle{Tile: tile.Tile{Level: tile.Entries, Index: next / tile.Width, Width: int(end - next)},
						Data: bundleOf(t, next, end), Leaves: leaves(next, end)}
					if b.Tile.IsFull() {
						want.Root = fullRoot(want.Leaves)
					}
					if b.Tile != want.Tile || !bytes.Equal(b.Data, want.Data) || !slices.Equal(b.Leaves, want.Leaves) || b.Root != want.Root {
						t.Fatalf("size %d, from %d on: after entry %d comes %s, or it has other hashes", size, start, next, b.Tile)
					}
					next = end
				}
				if next != size && start < size {
					t.Errorf("size %d, from %d on: the last entry is %d", size, start, next)
				}
			}
		})
	}
}

// Bundles holds no more than 16, however slow the caller is, and reads as many at
// once.
func TestBundlesAreReadAheadWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 100 * tile.Width
		var begun atomic.Int64
		r := watched{withBundles(t, tiles{}, size), func(context.Context, tile.Tile) error {
			begun.Add(1)
			time.Sleep(time.Second)
			return nil
		}}
		start, taken, most := time.Now(), int64(0), int64(0)
		for _, err := range tree.Bundles(t.Context(), r, 0, size) {
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			most = max(most, begun.Load()-taken)
			taken++
		}
		if most != 16 {
			t.Errorf("up to %d bundles are held", most)
		}
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("100 reads of a second took %v", took)
		}
	})
}

// The bubble fails if goroutines are left at its end.
func TestBundlesEndWithTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 100 * tile.Width
		r := watched{withBundles(t, tiles{}, size), func(ctx context.Context, at tile.Tile) error {
			if at.Index < 10 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		for b, err := range tree.Bundles(t.Context(), r, 0, size) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Tile.Index == 5 {
				break
			}
		}
	})
}

func TestBundlesEndWithTheFirstError(t *testing.T) {
	t.Parallel()
	const size = 100 * tile.Width
	whole := withBundles(t, tiles{}, size)
	broken := errors.New("broken")
	at := tile.Tile{Level: tile.Entries, Index: 40, Width: tile.Width}
	cut := withBundles(t, tiles{}, size)
	cut[at] = cut[at][:103]
	missing := withBundles(t, tiles{}, size)
	delete(missing, at)
	for _, test := range []struct {
		name string
		r    tile.Reader
		want string
	}{
		{"a read that fails", watched{whole, func(_ context.Context, t tile.Tile) error {
			if t == at {
				return broken
			}
			return nil
		}}, "read tile/entries/040: broken"},
		{"a bundle that is cut off", cut, "tile/entries/040: entry bundle ends inside entry 10, at byte 103"},
		{"a bundle that is missing", missing, fs.ErrNotExist.Error()},
	} {
		synctest.Test(t, func(t *testing.T) {
			next := uint64(0)
			var failed error
			for b, err := range tree.Bundles(t.Context(), test.r, 0, size) {
				if failed != nil {
					t.Fatalf("%s: something comes after the error", test.name)
				}
				if failed = err; err == nil && b.Tile.Index != next {
					t.Fatalf("%s: %s comes as number %d", test.name, b.Tile, next)
				}
				next++
			}
			if next != at.Index+1 {
				t.Errorf("%s: %d bundles before the error", test.name, next-1)
			}
			wantError(t, failed, test.want)
		})
	}
}

func TestBundlesEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 100 * tile.Width
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := withBundles(t, tiles{}, size) // takes no notice of the context
		next := 0
		var failed error
		for _, err := range tree.Bundles(ctx, r, 0, size) {
			if failed = err; err != nil {
				continue
			}
			if next++; next == 7 {
				cancel()
			}
		}
		if next != 7 || !errors.Is(failed, context.Canceled) {
			t.Errorf("%d bundles, error %v", next, failed)
		}
	})
}

func TestAppendBundleIsAppend(t *testing.T) {
	t.Parallel()
	all := leaves(0, 66_000)
	for _, test := range []struct{ from, size uint64 }{
		{0, 66_000}, {255, 700}, {256, 700}, {257, 700}, {511, 512}, {65_279, 65_536}, {65_300, 66_000}, {300, 400}, {700, 700},
	} {
		r := withBundles(t, tiles{}, test.size)
		var plain, f tree.Frontier
		plain.Append(all[:test.from])
		f.Append(all[:test.from])
		var got []tree.FullTile
		for b, err := range tree.Bundles(t.Context(), r, test.from, test.size) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.AppendBundle(b)...)
		}
		want := plain.Append(all[test.from:test.size])
		if f.Head() != plain.Head() || !slices.EqualFunc(got, want, equalTiles) {
			t.Errorf("from %d to %d: %v, %d tiles, want %v, %d", test.from, test.size, f.Head(), len(got), plain.Head(), len(want))
		}
		for level := range 3 {
			if !slices.Equal(f.Partial(level), plain.Partial(level)) {
				t.Errorf("from %d to %d: another partial tile at level %d", test.from, test.size, level)
			}
		}
	}
}

func TestCheckNamesTheFirstEntryThatIsNotInTheTree(t *testing.T) {
	t.Parallel()
	const size = 66_000
	other := newTlogTree(t, size)
	r, head := other.readTiles(t, size), other.head(t, size)
	p, err := tree.NewProven(t.Context(), r, head)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []uint64{0, 1, 255, 256, 40_000, 65_535, 65_536, 65_792, 65_999} {
		name, _ := tile.At(tile.Entries, at/tile.Width, size)
		end := name.Start() + uint64(name.Width)
		b, err := tree.HashBundle(name, bundleOf(t, name.Start(), end))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(t.Context(), b); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
		data := bundleOf(t, name.Start(), at)
		for i := at; i < end; i++ { // all from there on are others
			data, _ = tile.AppendEntry(data, entry(i+1))
		}
		if b, err = tree.HashBundle(name, data); err != nil {
			t.Fatal(err)
		}
		want := tree.EntryError{Index: at, Leaf: tree.LeafHash(entry(at + 1)), Want: tree.LeafHash(entry(at))}
		var got *tree.EntryError
		if err := p.Check(t.Context(), b); !errors.As(err, &got) || *got != want {
			t.Errorf("entry %d is another: %v", at, err)
		}
	}
}

// A bundle that was read when the log was smaller is part of a wider one.
func TestCheckOfANarrowBundle(t *testing.T) {
	t.Parallel()
	const size = 700
	other := newTlogTree(t, size)
	p, err := tree.NewProven(t.Context(), other.readTiles(t, size), other.head(t, size))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		index, from, to uint64
		want            string
	}{
		{0, 0, 10, ""},
		{1, 256, 500, ""},
		{2, 512, 600, ""},
		{2, 512, 700, ""},
		{1, 257, 501, "entry 256 is not the one in the tree"},
		{2, 512, 701, "tile/entries/002.p/189 is not in a tree of size 700"},
		{2, 512, 768, "tile/entries/002 is not in a tree of size 700"},
		{3, 700, 732, "is not in a tree of size 700"},
	} {
		name := tile.Tile{Level: tile.Entries, Index: test.index, Width: int(test.to - test.from)}
		b, err := tree.HashBundle(name, bundleOf(t, test.from, test.to))
		if err != nil {
			t.Fatal(err)
		}
		switch err := p.Check(t.Context(), b); {
		case test.want != "":
			wantError(t, err, test.want)
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server's own hashes of the wrong entries do not make them right.
func TestCheckTakesNoTileOnTheReadersWord(t *testing.T) {
	t.Parallel()
	const size = 66_000
	other := newTlogTree(t, size)
	head := other.head(t, size)
	name := tile.Tile{Level: tile.Entries, Index: 3, Width: tile.Width}
	b, err := tree.HashBundle(name, bundleOf(t, 1, 257))
	if err != nil {
		t.Fatal(err)
	}
	leaves, above := tile.Tile{Index: 3, Width: tile.Width}, tile.Tile{Level: 1, Width: tile.Width}
	for _, test := range []struct {
		name   string
		change func(tiles)
		want   string
	}{
		{"leaf hashes", func(r tiles) { r[leaves] = tree.JoinTile(b.Leaves) },
			"entries 768 to 1023 are not those in the tree, and which of them cannot be told: tile/0/003 is not the one"},
		{"leaf hashes and those above", func(r tiles) {
			r[leaves] = tree.JoinTile(b.Leaves)
			r[above] = bytes.Clone(r[above])
			copy(r[above][3*tree.HashSize:], b.Root[:])
		}, "tile/1/000 is not the one in the tree"},
		{"no leaf hashes", func(r tiles) { delete(r, leaves) }, "entries 768 to 1023 are not those in the tree"},
	} {
		r := other.readTiles(t, size)
		test.change(r)
		p, err := tree.NewProven(t.Context(), r, head)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Check(t.Context(), b)
		wantError(t, err, test.want)
		if named := (*tree.EntryError)(nil); errors.As(err, &named) {
			t.Errorf("%s: entry %d is named", test.name, named.Index)
		}
	}
}

// Bundles that are in the tree are proven without the tiles of their leaves, and
// each tile above is read once.
func TestCheckReadsFewTiles(t *testing.T) {
	t.Parallel()
	const size = 66_000
	other := newTlogTree(t, size)
	r := &counting{tiles: withBundles(t, other.readTiles(t, size), size)}
	p, err := tree.NewProven(t.Context(), r, other.head(t, size))
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range tree.Bundles(t.Context(), r.tiles, 0, size) {
		if err == nil {
			err = p.Check(t.Context(), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.n != 4 {
		t.Errorf("%d tiles are read, want the 3 at the edge and 1 above the bundles", r.n)
	}
}
