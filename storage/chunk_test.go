package storage_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/storage"
)

func TestChunkRoundTrip(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][][]byte{
		"one empty entry": {{}},
		"a few entries":   {[]byte("one"), {}, []byte("three")},
		"large entries":   {bytes.Repeat([]byte("x"), tile.MaxEntry), bytes.Repeat([]byte("y"), tile.MaxEntry)},
	} {
		bundle := bundleOf(t, entries)
		c := storage.EncodeChunk(512, len(entries), bundle)
		if c.Start != 512 || c.End() != 512+uint64(len(entries)) {
			t.Errorf("%s: the chunk covers %d to %d", name, c.Start, c.End())
		}
		decoded, err := c.Decode([]byte("before"))
		if err != nil || string(decoded) != "before"+string(bundle) {
			t.Errorf("%s: decoded to %d bytes, error %v; want what was encoded, appended", name, len(decoded), err)
		}
		got, err := c.Entries()
		if err != nil || len(got) != len(entries) {
			t.Fatalf("%s: %d entries, error %v; want %d", name, len(got), err, len(entries))
		}
		for i := range got {
			if !bytes.Equal(got[i], entries[i]) {
				t.Errorf("%s: entry %d has changed", name, i)
			}
		}
	}
}

func TestDamagedChunkIsNoticed(t *testing.T) {
	t.Parallel()
	whole := storage.EncodeChunk(7, 2, bundleOf(t, [][]byte{[]byte("first entry"), []byte("second entry")}))
	damaged := map[string]storage.Chunk{
		"no bytes":       {Start: 7, Count: 2},
		"bytes cut off":  {Start: 7, Count: 2, Data: whole.Data[:len(whole.Data)-1]},
		"another count":  {Start: 7, Count: 3, Data: whole.Data},
		"not compressed": {Start: 7, Count: 2, Data: []byte("entries")},
	}
	for name, c := range damaged {
		_, err := c.Entries()
		if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "entries 7 to 8") && c.Count == 2 {
			t.Errorf("%s: error %v, want %q with the place", name, err, storage.ErrDamaged)
		}
	}
}

// TestFlippedBitIsNoticed allows for bits that say nothing, such as those of the
// window's size.
func TestFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	bundle := bundleOf(t, [][]byte{[]byte("first entry"), []byte("second entry")})
	whole := storage.EncodeChunk(7, 2, bundle)
	for bit := range 8 * len(whole.Data) {
		c := whole
		c.Data = bytes.Clone(whole.Data)
		c.Data[bit/8] ^= 1 << (bit % 8)
		decoded, err := c.Decode(nil)
		if !errors.Is(err, storage.ErrDamaged) && !bytes.Equal(decoded, bundle) {
			t.Errorf("bit %d flipped: decoded to %q, error %v", bit, decoded, err)
		}
	}
}

func bundleOf(t testing.TB, entries [][]byte) (bundle []byte) {
	t.Helper()
	for _, e := range entries {
		var err error
		if bundle, err = tile.AppendEntry(bundle, e); err != nil {
			t.Fatal(err)
		}
	}
	return bundle
}
