package tile_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"

	"github.com/stele-log/stele/pkg/tile"
)

func bundle(t testing.TB, entries ...[]byte) []byte {
	t.Helper()
	var b []byte
	for _, e := range entries {
		var err error
		if b, err = tile.AppendEntry(b, e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBundleKeepsItsEntries(t *testing.T) {
	t.Parallel()
	entries := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), tile.MaxEntry), []byte("four")}
	b := bundle(t, entries...)
	got, err := tile.SplitBundle(b, len(entries))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, entries, bytes.Equal) {
		t.Errorf("%d entries, not those that were appended", len(got))
	}
	// Appending to an entry does not write over the next.
	_ = append(got[0], "more"...)
	if again, err := tile.SplitBundle(b, len(entries)); err != nil || len(again[1]) != 0 {
		t.Errorf("an entry was written over (%v)", err)
	}
	if got, err := tile.SplitBundle(nil, 0); err != nil || len(got) != 0 {
		t.Errorf("the empty bundle has %d entries (%v)", len(got), err)
	}
}

func TestBundleAgreesWithTorchwood(t *testing.T) {
	t.Parallel()
	entries := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 300)}
	var theirs []byte
	for _, e := range entries {
		var err error
		if theirs, err = torchwood.AppendTileEntry(theirs, e); err != nil {
			t.Fatal(err)
		}
	}
	if ours := bundle(t, entries...); !bytes.Equal(ours, theirs) {
		t.Errorf("bundle is %x, torchwood has %x", ours, theirs)
	}
}

func TestAppendEntryRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	before := bundle(t, []byte("one"))
	after, err := tile.AppendEntry(before, make([]byte, tile.MaxEntry+1))
	if err == nil || !strings.Contains(err.Error(), "65536 bytes: a bundle holds at most 65535") {
		t.Errorf("error is %v", err)
	}
	if !bytes.Equal(after, before) {
		t.Error("the bundle has changed")
	}
}

func TestSplitBundleRefuses(t *testing.T) {
	t.Parallel()
	good := bundle(t, []byte("one"), []byte("two"))
	tests := []struct {
		name   string
		bundle []byte
		width  int
		want   string
	}{
		{"too few entries", good, 3, "holds 2 entries, want 3"},
		{"too many entries", good, 1, "holds 2 entries, want 1"},
		{"cut in an entry", good[:9], 2, "ends inside entry 1, at byte 9"},
		{"cut in a length", good[:6], 2, "ends inside entry 1, at byte 6"},
		{"one byte more", append(bytes.Clone(good), 0), 2, "ends inside entry 2, at byte 11"},
		{"empty", nil, 1, "holds 0 entries, want 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tile.SplitBundle(tt.bundle, tt.width)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
			if check := tile.CheckBundle(tt.bundle, tt.width); check == nil || check.Error() != err.Error() {
				t.Errorf("CheckBundle: error is %v, want %v", check, err)
			}
		})
	}
}

func TestCutEntry(t *testing.T) {
	t.Parallel()
	b := bundle(t, []byte("one"), nil, []byte("two"))
	rest := b
	for _, want := range []string{"one", "", "two"} {
		entry, after, ok := tile.CutEntry(rest)
		if !ok || string(entry) != want {
			t.Errorf("cut %q, %v; want %q", entry, ok, want)
		}
		// What is appended to an entry must not get into the next one.
		_ = append(entry, "more"...)
		rest = after
	}
	for _, cut := range [][]byte{rest, nil, b[:1], b[:4]} {
		if entry, after, ok := tile.CutEntry(cut); ok || entry != nil || !bytes.Equal(after, cut) {
			t.Errorf("of %q: cut %q, rest %q, %v", cut, entry, after, ok)
		}
	}
}

func TestTruncate(t *testing.T) {
	t.Parallel()
	var entries [][]byte
	for i := range tile.Width {
		entries = append(entries, bytes.Repeat([]byte{byte(i)}, i))
	}
	full := tile.Tile{Level: tile.Entries, Width: tile.Width}
	b := bundle(t, entries...)
	for _, width := range []int{0, 1, 100, 255, 256} {
		got, err := tile.Truncate(b, full, width)
		if err != nil || !bytes.Equal(got, bundle(t, entries[:width]...)) {
			t.Errorf("the first %d entries are %d bytes (%v)", width, len(got), err)
		}
		hashes := make([]byte, tile.Width*tile.HashSize)
		got, err = tile.Truncate(hashes, tile.Tile{Width: tile.Width}, width)
		if err != nil || len(got) != width*tile.HashSize {
			t.Errorf("the first %d hashes are %d bytes (%v)", width, len(got), err)
		}
	}
	if _, err := tile.Truncate(b[:100], full, 3); err == nil {
		t.Error("a bundle that is cut was truncated")
	}
	if _, err := tile.Truncate(make([]byte, 100), tile.Tile{Width: tile.Width}, 3); err == nil {
		t.Error("a tile that is cut was truncated")
	}
}

func FuzzSplitBundle(f *testing.F) {
	f.Add(bundle(f, []byte("one"), nil, []byte("two")), 3)
	f.Add([]byte{0}, 1)
	f.Add([]byte{0xff, 0xff}, 1)
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		if width < 0 || width > tile.Width {
			return
		}
		entries, err := tile.SplitBundle(b, width)
		if err != nil {
			return
		}
		if len(entries) != width || !bytes.Equal(bundle(t, entries...), b) {
			t.Fatalf("%x splits into %d entries that make another bundle", b, len(entries))
		}
		for rest := b; len(rest) > 0; entries = entries[1:] {
			var e []byte
			if e, rest, err = torchwood.ReadTileEntry(rest); err != nil || !bytes.Equal(e, entries[0]) {
				t.Fatalf("torchwood reads %x (%v), we %x", e, err, entries[0])
			}
		}
	})
}
