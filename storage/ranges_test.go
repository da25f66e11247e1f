package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

var _ tile.RangeReader = (*storage.Reader)(nil)

// TestTilesInARowAreThoseOneByOne reads every range of a log whose bundles are
// of one chunk and of several.
func TestTilesInARowAreThoseOneByOne(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		const full = 2047 / 256
		storagetest.Grow(t, l, oddBatches...)
		m, r := newModel(2047), storage.NewReader(l, storage.NewCache(smallCache))
		for _, level := range []int{tile.Entries, 0} {
			for start := range uint64(full + 2) {
				for end := range uint64(full + 2) {
					next := start
					err := r.ReadTiles(t.Context(), level, start, end, func(data []byte) error {
						if !bytes.Equal(data, m.tile(t, tile.Tile{Level: level, Index: next, Width: tile.Width})) {
							t.Errorf("level %d, %d to %d: tile %d is not what follows from the entries", level, start, end, next)
						}
						next++
						return nil
					})
					if end > full && start < end {
						if !errors.Is(err, fs.ErrNotExist) || next != max(start, full) {
							t.Errorf("level %d, %d to %d: ended before tile %d, error %v", level, start, end, next, err)
						}
					} else if err != nil || next != max(start, end) {
						t.Errorf("level %d, %d to %d: ended before tile %d, error %v", level, start, end, next, err)
					}
				}
			}
		}
		enough := errors.New("enough")
		for _, level := range []int{tile.Entries, 0} {
			calls := 0
			err := r.ReadTiles(t.Context(), level, 0, full, func([]byte) error { calls++; return enough })
			if err != enough || calls != 1 {
				t.Errorf("level %d: after an error at the first tile there were %d calls, error %v", level, calls, err)
			}
		}
	})
}

// A lossy log lacks one tile.
type lossy struct{ storage.Log }

func (l lossy) EachTile(ctx context.Context, level int, start, end uint64, f func(uint64, []byte) error) error {
	return l.Log.EachTile(ctx, level, start, end, func(index uint64, data []byte) error {
		if index == 2 {
			return nil
		}
		return f(index, data)
	})
}

func TestWhatIsMissingInARowIsNoticed(t *testing.T) {
	t.Parallel()
	l := create(t, dbtest.SQLite(t))
	storagetest.Grow(t, l, 256, 256, 100, 156, 256)
	without := tampered{l, func(chunks []storage.Chunk) []storage.Chunk {
		var kept []storage.Chunk
		for _, c := range chunks {
			if c.Start != 512 {
				kept = append(kept, c)
			}
		}
		return kept
	}}
	for _, test := range []struct {
		name  string
		log   storage.Log
		level int
		want  error
		place string
	}{
		{"a chunk", without, tile.Entries, storage.ErrDamaged, "entries from 512 on"},
		{"a tile", lossy{l}, 0, fs.ErrNotExist, "number 3"},
	} {
		for end := range uint64(5) {
			calls := uint64(0)
			err := storage.NewReader(test.log, storage.NewCache(smallCache)).ReadTiles(t.Context(), test.level, 0, end,
				func([]byte) error { calls++; return nil })
			switch {
			case end <= 2 && (err != nil || calls != end):
				t.Errorf("%s, 0 to %d: %d calls, error %v", test.name, end, calls, err)
			case end == 4 && (!errors.Is(err, test.want) || !strings.Contains(err.Error(), test.place)),
				end > 2 && (err == nil || calls != 2):
				t.Errorf("%s, 0 to %d: %d calls, error %v, want %q with %q", test.name, end, calls, err, test.want, test.place)
			}
		}
	}
}

func TestEntriesInDamagedChunksAreNotRead(t *testing.T) {
	t.Parallel()
	l := create(t, dbtest.SQLite(t))
	storagetest.Grow(t, l, 10)
	r := storage.NewReader(tampered{l, func(chunks []storage.Chunk) []storage.Chunk {
		for i := range chunks {
			chunks[i].Data = chunks[i].Data[1:]
		}
		return chunks
	}}, storage.NewCache(smallCache))
	if e, err := r.ReadEntry(t.Context(), 5); !errors.Is(err, storage.ErrDamaged) || e != nil {
		t.Errorf("read %q, error %v", e, err)
	}
}

// TestEntriesAreNotShared keeps entries while others are read, in buffers that
// are used again, and changes them.
func TestEntriesAreNotShared(t *testing.T) {
	each(t, func(t *testing.T, l storage.Log) {
		size := storagetest.Grow(t, l, 300, 212).Size
		r, want := storage.NewReader(l, storage.NewCache(smallCache)), storagetest.Entries(0, 512)
		read := make(chan error, 4)
		for range cap(read) {
			go func() {
				var kept [][]byte
				for i := range size {
					e, err := r.ReadEntry(t.Context(), i)
					if err != nil {
						read <- err
						return
					}
					kept = append(kept, e)
					_ = append(e, "more"...)
				}
				for i, e := range kept {
					if !bytes.Equal(e, want[i]) {
						read <- fmt.Errorf("entry %d is %q", i, e)
						return
					}
				}
				_, err := r.ReadEntry(t.Context(), math.MaxUint64)
				if errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				read <- err
			}()
		}
		for range cap(read) {
			if err := <-read; err != nil {
				t.Error(err)
			}
		}
	})
}
