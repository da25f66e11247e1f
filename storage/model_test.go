package storage_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// A model is what a log of made-up entries must be read as: the entries, and
// by level the hashes of its tiles, as a Frontier makes them.
type model struct {
	entries [][]byte
	hashes  [][]tree.Hash
}

func newModel(size uint64) *model {
	m := &model{entries: storagetest.Entries(0, int(size))}
	var f tree.Frontier
	for _, e := range m.entries {
		for _, full := range f.Append([]tree.Hash{tree.LeafHash(e)}) {
			m.add(full.Tile.Level, full.Data)
		}
	}
	for level := 0; f.Partial(level) != nil; level++ {
		m.add(level, tree.JoinTile(f.Partial(level)))
	}
	return m
}

func (m *model) add(level int, data []byte) {
	for len(m.hashes) <= level {
		m.hashes = append(m.hashes, nil)
	}
	for ; len(data) > 0; data = data[tree.HashSize:] {
		m.hashes[level] = append(m.hashes[level], tree.Hash(data))
	}
}

// tile returns the bytes of a tile or bundle.
func (m *model) tile(t *testing.T, at tile.Tile) []byte {
	t.Helper()
	first := at.Index * tile.Width
	if at.Level == tile.Entries {
		return bundleOf(t, m.entries[first:first+uint64(at.Width)])
	}
	return tree.JoinTile(m.hashes[at.Level][first : first+uint64(at.Width)])
}

// check fails the test unless a reader has each tile and each bundle of a log
// of the given size that covers an entry from start on, in each of its widths.
func (m *model) check(t *testing.T, r *storage.Reader, start, size uint64) {
	t.Helper()
	for level := tile.Entries; level < len(m.hashes); level++ {
		each := uint64(1) << (8 * (max(level, 0) + 1)) // entries below a full tile
		for index := start / each; ; index++ {
			at, ok := tile.At(level, index, size)
			if !ok {
				break
			}
			for last := at.Width; at.Width > 0; at.Width-- {
				// A tile that has long been full is read in few widths.
				if at.Start()+each < start && at.Width != last && at.Width%100 > 0 {
					continue
				}
				data, err := r.ReadTile(t.Context(), at)
				if err != nil {
					t.Fatalf("at size %d: %v", size, err)
				}
				if !bytes.Equal(data, m.tile(t, at)) {
					t.Fatalf("at size %d: %s is not what follows from the entries", size, at)
				}
			}
		}
	}
}

// readSome reads a random tile of the newest tree.
func (m *model) readSome(t *testing.T, l storage.Log, r *storage.Reader, random *rand.Rand) error {
	head, err := l.Head(t.Context())
	if err != nil || head.Size == 0 {
		return err
	}
	level := random.IntN(3) - 1
	tiles := head.Size>>(8*max(level, 0))/tile.Width + 1
	// Most are at the right edge, where tiles grow.
	at, ok := tile.At(level, tiles-1-min(tiles-1, random.Uint64N(3)), head.Size)
	if !ok {
		return nil
	}
	at.Width -= random.IntN(min(at.Width, 3))
	data, err := r.ReadTile(t.Context(), at)
	if err == nil && !bytes.Equal(data, m.tile(t, at)) {
		err = fmt.Errorf("%s is not what follows from the entries", at)
	}
	return err
}
