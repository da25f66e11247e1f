package client_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// A tampering is a change to a log, and what is said of it.
type tampering struct {
	name   string
	change func(*testing.T, *memLog)
	check  string // in the error of Check
	read   string // in the error of ReadEntries; empty if it does not read what has changed
}

func change(path string, f func([]byte) []byte) func(*testing.T, *memLog) {
	return func(t *testing.T, l *memLog) {
		t.Helper()
		file, ok := l.MapFS[path]
		if !ok {
			t.Fatalf("there is no %s", path)
		}
		l.put(path, f(bytes.Clone(file.Data)))
	}
}

func remove(path string) func(*testing.T, *memLog) {
	return func(t *testing.T, l *memLog) {
		t.Helper()
		if _, ok := l.MapFS[path]; !ok {
			t.Fatalf("there is no %s", path)
		}
		delete(l.MapFS, path)
	}
}

// flipHash changes one hash of a tile.
func flipHash(i int) func([]byte) []byte {
	return func(b []byte) []byte { b[i*tree.HashSize+5] ^= 1; return b }
}

func replace(old, new string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
}

func cutOff(b []byte) []byte  { return b[:len(b)-1] }
func oneMore(b []byte) []byte { return append(b, 0) }

// endless returns more bytes than any bundle can have.
func endless([]byte) []byte { return make([]byte, tile.Width*(2+tile.MaxEntry)+1) }

// rewrite changes an entry and lays out the tiles that follow.
func rewrite(index int) func(*testing.T, *memLog) {
	return func(t *testing.T, l *memLog) {
		t.Helper()
		l.entries = slices.Clone(l.entries)
		l.entries[index] = []byte("another")
		l.writeTiles(t)
	}
}

// In a log of 600 entries the bundles are 000, 001 and 002.p/88, and the tiles
// at level 1 are 000.p/2.
var tamperings600 = []tampering{
	{"an entry", change("tile/entries/001", replace("entry 300", "entry 3O0")),
		"entry 300 was changed", "entry 300 is not the one in the tree"},
	{"the first entry", change("tile/entries/000", replace("entry 0", "entry O")),
		"entry 0 was changed", "entry 0 is not the one in the tree"},
	{"an entry of the partial bundle", change("tile/entries/002.p/88", replace("entry 599", "entry 59g")),
		"entry 599 was changed", "entry 599 is not the one in the tree"},
	{"two entries in each other's place", change("tile/entries/000", func(b []byte) []byte {
		return replace("entry XX", "entry 10")(replace("entry 10", "entry 11")(replace("entry 11", "entry XX")(b)))
	}), "entry 10 was changed", "entry 10 is not the one in the tree"},
	{"another bundle in the place of one", func(_ *testing.T, l *memLog) { l.MapFS["tile/entries/001"] = l.MapFS["tile/entries/000"] },
		"entry 256 was changed", "entry 256 is not the one in the tree"},
	{"the length of an entry", change("tile/entries/001", func(b []byte) []byte { b[1]++; return b }),
		"entries 256 to 511: tile/entries/001", "entries 256 to 511: tile/entries/001"},
	{"a bundle that is cut off", change("tile/entries/001", cutOff),
		"entries 256 to 511: tile/entries/001", "entries 256 to 511: tile/entries/001"},
	{"a bundle with a byte more", change("tile/entries/001", oneMore),
		"entries 256 to 511: tile/entries/001", "entries 256 to 511: tile/entries/001"},
	{"a bundle with an entry more", change("tile/entries/002.p/88", func(b []byte) []byte { return append(b, 0, 1, 'x') }),
		"entries 512 to 599: tile/entries/002.p/88", "entries 512 to 599: tile/entries/002.p/88"},
	{"a bundle with an entry less", change("tile/entries/000", func(b []byte) []byte { return b[2+len("entry 0"):] }),
		"entries 0 to 255: tile/entries/000", "entries 0 to 255: tile/entries/000"},
	{"an empty bundle", change("tile/entries/001", func([]byte) []byte { return nil }),
		"entries 256 to 511: tile/entries/001", "entries 256 to 511: tile/entries/001"},
	{"a bundle that is too large", change("tile/entries/001", endless),
		"entries 256 to 511: read tile/entries/001: more than 16777472 bytes", "more than 16777472 bytes"},
	{"no bundle", remove("tile/entries/001"),
		"entries 256 to 511: read tile/entries/001", "entries 256 to 511: read tile/entries/001"},
	{"no partial bundle", remove("tile/entries/002.p/88"),
		"entries 512 to 599: read tile/entries/002.p/88", "entries 512 to 599: read tile/entries/002.p/88"},

	{"a leaf hash", change("tile/0/001", flipHash(7)), "entry 263: tile/0/001 was changed at hash 7", ""},
	{"a leaf hash of the partial tile", change("tile/0/002.p/88", flipHash(10)),
		"entry 522: the entry or its tile was changed", "right edge"},
	{"a tile that is cut off", change("tile/0/001", cutOff), "tile/0/001: tile has 8191 bytes", ""},
	{"a tile with a byte more", change("tile/0/001", oneMore), "read tile/0/001: more than 8192 bytes", ""},
	{"a partial tile with a hash less", change("tile/0/002.p/88", func(b []byte) []byte { return b[32:] }),
		"tile/0/002.p/88: tile has 2784 bytes", "tile/0/002.p/88: tile has 2784 bytes"},
	{"a partial tile that is too large", change("tile/0/002.p/88", endless),
		"read tile/0/002.p/88: more than 2816 bytes", "more than 2816 bytes"},
	{"no tile", remove("tile/0/001"), "read tile/0/001", ""},
	{"no partial tile", remove("tile/0/002.p/88"), "read tile/0/002.p/88", "open tile/0/002"},
	{"a hash at level 1", change("tile/1/000.p/2", flipHash(1)),
		"tile/1/000.p/2 was changed at hash 1, over entries 256 to 511", "right edge"},
	{"no tile at level 1", remove("tile/1/000.p/2"), "read tile/1/000.p/2", "open tile/1/000"},
	{"an entry and its leaf hash", func(t *testing.T, l *memLog) {
		change("tile/entries/001", replace("entry 300", "another!!"))(t, l)
		leaf := tree.LeafHash([]byte("another!!"))
		change("tile/0/001", func(b []byte) []byte { copy(b[(300-256)*tree.HashSize:], leaf[:]); return b })(t, l)
	}, "tile/1/000.p/2 was changed at hash 1, over entries 256 to 511", "tile/0/001 is not the one in the tree"},
	{"an entry and all tiles", rewrite(300), "one of the entries 0 to 599 was changed, or another history was signed", "right edge"},
	{"the last entry and all tiles", rewrite(599), "one of the entries 0 to 599 was changed, or another history was signed", "right edge"},

	{"no checkpoint", remove("checkpoint"), "read checkpoint", "read checkpoint"},
	{"an empty checkpoint", change("checkpoint", func([]byte) []byte { return nil }), "this is not a checkpoint", "this is not a checkpoint"},
	{"the checkpoint's size", change("checkpoint", replace("\n600\n", "\n601\n")), "no valid signature", "no valid signature"},
	{"the checkpoint's root", change("checkpoint", func(b []byte) []byte {
		b[len(memOrigin+"\n600\n")+3] ^= 1
		return b
	}), "no valid signature", "no valid signature"},
	{"the checkpoint's signature", change("checkpoint", func(b []byte) []byte { b[len(b)-20] ^= 1; return b }),
		"no valid signature", "no valid signature"},
	{"the checkpoint's origin", change("checkpoint", replace(memOrigin, "log.example/you")), "log.example/you", "log.example/you"},
	{"a checkpoint with a line more", change("checkpoint", replace("\n\n", "\nextension\n\n")),
		"no valid signature", "no valid signature"},
	{"a checkpoint that is too large", change("checkpoint", func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }),
		"more than 1048576 bytes", "more than 1048576 bytes"},
	{"everything, signed by another key of that name", func(t *testing.T, l *memLog) {
		rewrite(300)(t, l)
		l.useKey(t, memOrigin, 2)
		l.write(t)
	}, "no valid signature", "no valid signature"},
	{"everything, signed by the key of another log", func(t *testing.T, l *memLog) {
		l.useKey(t, "log.example/other", 2)
		l.write(t)
	}, "this is the log log.example/other", "this is the log log.example/other"},
}

// In a log of 66,000 entries there are full tiles at two levels and partial
// ones at three.
var tamperings66000 = []tampering{
	{"an entry", change("tile/entries/156", replace("entry 40000", "entry 4OOOO")),
		"entry 40000 was changed", "entry 40000 is not the one in the tree"},
	{"the last entry", change("tile/entries/257.p/208", replace("entry 65999", "entry 6599g")),
		"entry 65999 was changed", "entry 65999 is not the one in the tree"},
	{"a leaf hash", change("tile/0/156", flipHash(64)), "entry 40000: tile/0/156 was changed at hash 64", ""},
	{"a leaf hash of the partial tile", change("tile/0/257.p/208", flipHash(207)),
		"entry 65999: the entry or its tile was changed", "right edge"},
	{"a hash of the full tile at level 1", change("tile/1/000", flipHash(156)),
		"tile/1/000 was changed at hash 156, over entries 39936 to 40191", "tile/1/000 is not the one in the tree"},
	{"a hash of the partial tile at level 1", change("tile/1/001.p/1", flipHash(0)),
		"tile/1/001.p/1 was changed at hash 0, over entries 65536 to 65791", "right edge"},
	{"a hash at level 2", change("tile/2/000.p/1", flipHash(0)),
		"tile/2/000.p/1 was changed at hash 0, over entries 0 to 65535", "right edge"},
	{"an entry and its leaf hash", func(t *testing.T, l *memLog) {
		change("tile/entries/156", replace("entry 40000", "another!!!!"))(t, l)
		leaf := tree.LeafHash([]byte("another!!!!"))
		change("tile/0/156", func(b []byte) []byte { copy(b[64*tree.HashSize:], leaf[:]); return b })(t, l)
	}, "tile/1/000 was changed at hash 156, over entries 39936 to 40191", "tile/0/156 is not the one in the tree"},
	{"no full tile at level 1", remove("tile/1/000"), "read tile/1/000", "read tile/1/000"},
	{"no tile at level 2", remove("tile/2/000.p/1"), "read tile/2/000.p/1", "open tile/2/000"},
	{"an entry and all tiles", rewrite(40_000), "one of the entries 0 to 65999 was changed", "right edge"},
}

// inARow makes a Reader one that reads tiles in a row, and keeps to no more of
// the contract than it must: what it has given is overwritten at once.
type inARow struct{ tile.Reader }

func (r inARow) ReadTiles(ctx context.Context, level int, start, end uint64, f func([]byte) error) error {
	for i := start; i < end; i++ {
		data, err := r.ReadTile(ctx, tile.Tile{Level: level, Index: i, Width: tile.Width})
		if err != nil {
			return err
		}
		data = bytes.Clone(data)
		err = f(data)
		clear(data)
		if err != nil {
			return err
		}
	}
	return nil
}

func TestTamperingIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, log := range []struct {
		size       int
		tamperings []tampering
	}{{600, tamperings600}, {66_000, tamperings66000}} {
		whole := newMemLog(t, log.size)
		p := whole.policy(t)
		for _, test := range log.tamperings {
			l := whole.clone()
			test.change(t, l)
			r := tile.FS(l)
			for _, r := range []tile.Reader{r, inARow{r}} {
				if report, err := client.Check(t.Context(), r, p, client.CheckOptions{}); err == nil || !strings.Contains(err.Error(), test.check) {
					t.Errorf("%d entries, %s: Check of a %T: %+v, error %v, want %q", log.size, test.name, r, report, err, test.check)
				}
			}
			head, err := client.ReadHead(t.Context(), r, p)
			read := 0
			if err == nil {
				read, err = readAll(t, r, head.Head, whole.entries)
			}
			switch {
			case test.read == "" && (err != nil || read != log.size):
				t.Errorf("%d entries, %s: %d entries read, error %v", log.size, test.name, read, err)
			case test.read != "" && (err == nil || !strings.Contains(err.Error(), test.read)):
				t.Errorf("%d entries, %s: ReadEntries: error %v, want %q", log.size, test.name, err, test.read)
			}
		}
	}
}

// readAll reads all entries of a log, and fails the test if one that it yields
// is not the one that was there before somebody tampered with the log. It
// returns the number of entries before the error, which is the last thing.
func readAll(t *testing.T, r tile.Reader, head tree.Head, want [][]byte) (n int, failed error) {
	t.Helper()
	for e, err := range client.ReadEntries(t.Context(), r, head, 0, head.Size) {
		if failed != nil {
			t.Fatalf("after the error %v came entry %d, error %v", failed, e.Index, err)
		}
		if err != nil {
			failed = err
			continue
		}
		if e.Index != uint64(n) || n >= len(want) || !bytes.Equal(e.Data, want[n]) {
			t.Fatalf("entry %d is given out as %d: %q", n, e.Index, e.Data)
		}
		n++
	}
	return n, failed
}
