package proof_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// rows are the full subtrees over some leaves: rows[h][i] is that of the 2^h
// leaves from i<<h on. They are a tree.NodeReader of each tree of a prefix.
type rows [][]tree.Hash

func newRows(leaves []tree.Hash) rows {
	r := rows{leaves}
	for row := leaves; len(row) > 1; {
		above := make([]tree.Hash, len(row)/2)
		for i := range above {
			above[i] = tree.NodeHash(row[2*i], row[2*i+1])
		}
		r = append(r, above)
		row = above
	}
	return r
}

// ReadNodes returns the nodes of a tile, never of a wider one.
func (r rows) ReadNodes(_ context.Context, t tile.Tile) (*tree.Nodes, error) {
	start, height := t.Index*tile.Width, 8*t.Level
	if height >= len(r) || start+uint64(t.Width) > uint64(len(r[height])) {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	return tree.NewNodes(r[height][start : start+uint64(t.Width)]), nil
}

func entry(i uint64) []byte { return fmt.Appendf(nil, "entry %d", i) }

// A log is the entries that entry makes, with their proofs by us and by an
// implementation that we did not write.
type log struct {
	nodes  rows
	stored []tlog.Hash
}

func newLog(t testing.TB, size uint64) log {
	t.Helper()
	var l log
	leaves := make([]tree.Hash, size)
	for i := range size {
		leaves[i] = tree.LeafHash(entry(i))
		hashes, err := tlog.StoredHashes(int64(i), entry(i), l)
		if err != nil {
			t.Fatal(err)
		}
		l.stored = append(l.stored, hashes...)
	}
	l.nodes = newRows(leaves)
	return l
}

func (l log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = l.stored[index]
	}
	return hashes, nil
}

// head is the head of the first size entries, by the other implementation.
func (l log) head(t testing.TB, size uint64) tree.Head {
	t.Helper()
	root, err := tlog.TreeHash(int64(size), l)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Head{Size: size, Root: tree.Hash(root)}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}
