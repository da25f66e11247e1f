// Package tile names the pieces in which a log is read: tiles of hashes and
// bundles of entries, in the layout of C2SP tlog-tiles
// (https://c2sp.org/tlog-tiles).
//
// A tile at level l holds up to 256 consecutive hashes; each is the root of a
// full subtree of 256^l entries, so that the hash of a full tile is one hash of
// the tile above it. An entry bundle holds the up to 256 entries below one
// level 0 tile and is, here, a tile at the level [Entries]. A tile narrower
// than 256 is partial; it exists only while it stands at the right edge of a
// tree for which there was a checkpoint.
//
// What always holds:
//   - a Tile has one path and a path has at most one Tile: [Parse] refuses
//     every other spelling;
//   - full tiles and full bundles never change once they exist.
//
// The package does no I/O of its own; [FS] and [HTTP] read through what they
// are given. All functions are safe for concurrent use.
package tile

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	// Width is the number of hashes in a full tile, and of entries in a full
	// bundle.
	Width = 256

	// HashSize is the size of one hash of a tile, in bytes.
	HashSize = 32

	// MaxEntry is the size of the largest entry a bundle can hold, in bytes.
	MaxEntry = 1<<16 - 1

	// Entries is the level of entry bundles.
	Entries = -1

	// maxLevel is the highest level that a tree of 2^64 entries could have.
	maxLevel = 7
)

// A Tile names one tile or, at level [Entries], one entry bundle.
type Tile struct {
	Level int    // 0 to 7, or Entries
	Index uint64 // position within the level, from 0
	Width int    // number of hashes or entries, 1 to 256
}

// At returns the tile at (level, index) as a tree of the given size has it, and
// false if it has none: an empty tile does not exist.
func At(level int, index, size uint64) (Tile, bool) {
	n := size
	if level > 0 {
		n = size >> (8 * level)
	}
	if index >= n/Width+1 {
		return Tile{}, false
	}
	width := min(n-index*Width, Width)
	return Tile{Level: level, Index: index, Width: int(width)}, width > 0
}

// Full returns the full tile that t is a prefix of.
func (t Tile) Full() Tile { t.Width = Width; return t }

// IsFull reports whether the tile is full, and so never changes.
func (t Tile) IsFull() bool { return t.Width == Width }

// In reports whether a tree of the given size implies the tile, that is,
// whether its hashes or entries all lie in that tree.
func (t Tile) In(size uint64) bool {
	at, ok := At(t.Level, t.Index, size)
	return ok && t.Width <= at.Width
}

// Start returns the index of the first entry below the tile.
func (t Tile) Start() uint64 {
	if t.Level <= 0 {
		return t.Index * Width
	}
	return t.Index << (8 * (t.Level + 1))
}

// Path returns the tile's path below the log's prefix, such as
// "tile/0/x001/x234/067.p/8" or "tile/entries/000".
//
// SPEC: https://c2sp.org/tlog-tiles#merkle-tree
func (t Tile) Path() string {
	b := make([]byte, 0, 40)
	b = append(b, "tile/"...)
	if t.Level == Entries {
		b = append(b, "entries"...)
	} else {
		b = strconv.AppendInt(b, int64(t.Level), 10)
	}
	b = appendIndex(b, t.Index)
	if !t.IsFull() {
		b = append(b, ".p/"...)
		b = strconv.AppendInt(b, int64(t.Width), 10)
	}
	return string(b)
}

func (t Tile) String() string { return t.Path() }

// appendIndex appends n in groups of three digits, all but the last prefixed
// with "x": 1234067 is "/x001/x234/067".
func appendIndex(b []byte, n uint64) []byte {
	digits := strconv.FormatUint(n, 10)
	for len(digits)%3 != 0 {
		digits = "0" + digits
	}
	for len(digits) > 3 {
		b = append(b, "/x"...)
		b = append(b, digits[:3]...)
		digits = digits[3:]
	}
	return append(append(b, '/'), digits...)
}

// ungrouped takes away what stands between and before groups of digits.
var ungrouped = strings.NewReplacer("/", "", "x", "")

// Parse returns the tile that a path below the log's prefix names. It accepts
// only what [Tile.Path] prints.
func Parse(path string) (Tile, error) {
	t, ok := parse(path)
	// One accepted spelling: whatever parses must print the same.
	if !ok || t.Path() != path {
		return Tile{}, fmt.Errorf("tile path %q is not one of tlog-tiles: "+
			"want tile/<level>/<index>[.p/<width>], level 0 to 7 or \"entries\", "+
			"index in groups of three digits, width 1 to 255", path)
	}
	return t, nil
}

func parse(path string) (t Tile, ok bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > 64 {
		return t, false
	}
	level, index, _ := strings.Cut(rest, "/")
	t.Level = Entries
	if level != "entries" {
		l, err := strconv.ParseUint(level, 10, 8)
		if err != nil || l > maxLevel {
			return t, false
		}
		t.Level = int(l)
	}
	index, width, partial := strings.Cut(index, ".p/")
	t.Width = Width
	if partial {
		w, err := strconv.ParseUint(width, 10, 8)
		if err != nil || w == 0 {
			return t, false
		}
		t.Width = int(w)
	}
	n, err := strconv.ParseUint(ungrouped.Replace(index), 10, 64)
	// The entries below the tile must be countable.
	if err != nil || n > (1<<56-1)>>(8*max(t.Level, 0)) {
		return t, false
	}
	t.Index = n
	return t, true
}
