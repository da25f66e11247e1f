package tile_test

import (
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/tile"
)

func TestPath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tile tile.Tile
		path string
	}{
		{tile.Tile{Level: 0, Index: 0, Width: 256}, "tile/0/000"},
		{tile.Tile{Level: 0, Index: 67, Width: 1}, "tile/0/067.p/1"},
		{tile.Tile{Level: 1, Index: 999, Width: 255}, "tile/1/999.p/255"},
		{tile.Tile{Level: 2, Index: 1000, Width: 256}, "tile/2/x001/000"},
		{tile.Tile{Level: 0, Index: 1234067, Width: 8}, "tile/0/x001/x234/067.p/8"},
		{tile.Tile{Level: tile.Entries, Index: 0, Width: 256}, "tile/entries/000"},
		{tile.Tile{Level: tile.Entries, Index: 1234067, Width: 112}, "tile/entries/x001/x234/067.p/112"},
		{tile.Tile{Level: 7, Index: 0, Width: 1}, "tile/7/000.p/1"},
		{tile.Tile{Level: 0, Index: 1<<56 - 1, Width: 256}, "tile/0/x072/x057/x594/x037/x927/935"},
	}
	for _, tt := range tests {
		if got := tt.tile.Path(); got != tt.path {
			t.Errorf("path of %+v is %s, want %s", tt.tile, got, tt.path)
		}
		if got, err := tile.Parse(tt.path); err != nil || got != tt.tile {
			t.Errorf("%s is %+v (%v), want %+v", tt.path, got, err, tt.tile)
		}
	}
}

func TestParseRefusesOtherSpellings(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"", "/", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile//000", "tiles/0/000",
		"tile/00/000", "tile/01/000", "tile/+0/000", "tile/-1/000", "tile/8/000", "tile/63/000", "tile/256/000",
		"tile/data/000", "tile/Entries/000", "tile/entries", "tile/entries/",
		"tile/0/0", "tile/0/67", "tile/0/0067", "tile/0/1000", "tile/0/001/000", "tile/0/x001/x000", "tile/0/x000/067",
		"tile/0/x1/000", "tile/0/X001/000", "tile/0/x001000", "tile/0/00x1", "tile/0/+67", "tile/0/-67",
		"tile/0/x001/000/", "tile/0//000", "tile/0/000/", "tile/0/000 ", "tile/0/000\n",
		"tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/01",
		"tile/0/000.p/+1", "tile/0/000.p/-1", "tile/0/000.p/1/", "tile/0/000.p/1.p/1", "tile/0.p/1/000",
		"tile/0/x072/x057/x594/x037/x927/936",      // one more than can be counted
		"tile/7/001",                               // entries from 2^64 on
		"tile/0/x999/x999/x999/x999/x999/x999/999", // beyond 64 bits
		"tile/0/" + strings.Repeat("x000/", 20) + "067",
		"tile/0/\u0661\u0662\u0663", "../tile/0/000", "tile/0/../000", "tile/0/000?x", "tile/0/000.gz",
	} {
		if got, err := tile.Parse(path); err == nil {
			t.Errorf("%q is taken for %+v", path, got)
		} else if !strings.Contains(err.Error(), "not one of tlog-tiles") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestAtAgreesWithTlog(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{0, 1, 2, 255, 256, 257, 511, 512, 65535, 65536, 65537, 70000, 1 << 24, 1<<24 + 1} {
		want := map[tile.Tile]bool{}
		for _, th := range tlog.NewTiles(torchwood.TileHeight, 0, int64(size)) {
			want[tile.Tile{Level: th.L, Index: uint64(th.N), Width: th.W}] = true
		}
		got := 0
		for level := 0; level <= 7; level++ {
			for index := uint64(0); ; index++ {
				at, ok := tile.At(level, index, size)
				if !ok {
					break
				}
				got++
				if !want[at] {
					t.Errorf("size %d: %s is not one of its tiles", size, at)
				}
				if !at.In(size) || !at.IsFull() && at.Full().In(size) || size > 0 && at.In(at.Start()) {
					t.Errorf("size %d: %s does not say where it is", size, at)
				}
			}
		}
		if got != len(want) {
			t.Errorf("size %d has %d tiles, want %d", size, got, len(want))
		}
	}
}

func TestAtTheLargestSizes(t *testing.T) {
	t.Parallel()
	const size = 1<<64 - 1
	for level := 0; level <= 7; level++ {
		last := uint64(size) >> (8 * (level + 1))
		if level == 7 {
			last = 0
		}
		if got, ok := tile.At(level, last, size); !ok || got.Width != 255 {
			t.Errorf("last tile of level %d is %+v, %t", level, got, ok)
		}
		if got, ok := tile.At(level, last+1, size); ok {
			t.Errorf("level %d goes on with %+v", level, got)
		}
	}
	if got, ok := tile.At(tile.Entries, 1<<56-1, size); !ok || got.Width != 255 {
		t.Errorf("last bundle is %+v, %t", got, ok)
	}
	if _, ok := tile.At(0, 1<<64-1, size); ok {
		t.Error("there is a tile at an index that cannot be counted")
	}
}

func TestIn(t *testing.T) {
	t.Parallel()
	partial := tile.Tile{Level: 0, Index: 1, Width: 10}
	for size, want := range map[uint64]bool{0: false, 256: false, 265: false, 266: true, 300: true, 512: true, 1000: true} {
		if partial.In(size) != want {
			t.Errorf("%s is in size %d: %t", partial, size, !want)
		}
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]uint64{
		"tile/entries/002": 512, "tile/0/002": 512, "tile/1/002": 131072, "tile/2/001.p/3": 1 << 24, "tile/7/000.p/1": 0,
	} {
		at, err := tile.Parse(path)
		if err != nil || at.Start() != want {
			t.Errorf("%s starts at %d (%v), want %d", path, at.Start(), err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{
		"tile/0/000", "tile/entries/x001/x234/067.p/8", "tile/7/000.p/255", "tile/0/x000/067", "tile/data/000",
		"tile/0/x072/x057/x594/x037/x927/935",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		at, err := tile.Parse(path)
		if err != nil {
			return
		}
		if at.Path() != path {
			t.Fatalf("%q parses, and prints as %q", path, at.Path())
		}
		if at.Level < tile.Entries || at.Level > 7 || at.Width < 1 || at.Width > tile.Width {
			t.Fatalf("%q parses as %+v", path, at)
		}
		// torchwood accepts what we accept, and reads the same.
		th, err := torchwood.ParseTilePath(path)
		if err != nil || th.L != at.Level || uint64(th.N) != at.Index || th.W != at.Width {
			t.Fatalf("%q is %+v, torchwood reads %+v (%v)", path, at, th, err)
		}
		if got := torchwood.TilePath(th); got != path {
			t.Fatalf("torchwood prints %q as %q", path, got)
		}
	})
}
