package mirror_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/mirror"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

const origin = "log.example/one"

// A log is one in memory, which can lie.
type log struct {
	signer  note.Signer
	policy  *policy.Policy
	entries [][]byte
	levels  [][]tree.Hash
	size    uint64 // of the checkpoint that it shows

	mu    sync.Mutex
	reads map[tile.Tile]int

	// change, if not nil, changes what a tile's bytes are.
	change func(t tile.Tile, data []byte) []byte
}

// newLog returns a log of n entries; those from entry fork on are other than in
// a log with another fork.
func newLog(t testing.TB, n, fork int) *log {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(make([]byte, 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	l := &log{size: uint64(n), reads: map[tile.Tile]int{}}
	if l.signer, err = checkpoint.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if l.policy, err = policy.ForLog(vkey); err != nil {
		t.Fatal(err)
	}
	var hashes []tree.Hash
	for i := range n {
		e := fmt.Appendf(nil, `{"i":%d}`, i)
		if i >= fork {
			e = fmt.Appendf(nil, `{"i":%d,"fork":%d}`, i, fork)
		}
		l.entries = append(l.entries, e)
		hashes = append(hashes, tree.LeafHash(e))
	}
	for len(hashes) > 0 {
		l.levels = append(l.levels, hashes)
		var above []tree.Hash
		for ; len(hashes) >= tile.Width; hashes = hashes[tile.Width:] {
			above = append(above, tree.TileRoot(hashes[:tile.Width]))
		}
		hashes = above
	}
	return l
}

const noFork = 1 << 30

func (l *log) head(size uint64) tree.Head {
	var f tree.Frontier
	if size > 0 {
		f.Append(l.levels[0][:size])
	}
	return f.Head()
}

func (l *log) note(t testing.TB, size uint64) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: origin, Head: l.head(size)}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func (l *log) ReadCheckpoint(context.Context) ([]byte, error) {
	return checkpoint.Sign(checkpoint.Checkpoint{Origin: l.signer.Name(), Head: l.head(l.size)}, l.signer)
}

func (l *log) ReadTile(_ context.Context, t tile.Tile) (data []byte, err error) {
	l.mu.Lock()
	l.reads[t]++
	l.mu.Unlock()
	if !t.In(l.size) {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	start := int(t.Index * tile.Width)
	if t.Level == tile.Entries {
		for _, e := range l.entries[start : start+t.Width] {
			if data, err = tile.AppendEntry(data, e); err != nil {
				return nil, err
			}
		}
	} else {
		for _, h := range l.levels[t.Level][start : start+t.Width] {
			data = append(data, h[:]...)
		}
	}
	if l.change != nil {
		data = l.change(t, data)
	}
	return data, nil
}

// update brings the copy in dir up to date.
func update(t *testing.T, l *log, dir string, disk mirror.Disk) (mirror.Update, error) {
	t.Helper()
	m, err := mirror.Open(mirror.Config{Log: l, Dir: dir, Policy: l.policy, Disk: disk})
	if err != nil {
		return mirror.Update{}, err
	}
	defer m.Close()
	return m.Update(t.Context())
}

// wantWhole fails the test unless the copy is whole, and has that size.
func wantWhole(t *testing.T, l *log, dir string, sizes ...uint64) uint64 {
	t.Helper()
	r, err := client.Check(t.Context(), tile.FS(os.DirFS(dir)), l.policy, client.CheckOptions{})
	if err != nil {
		t.Fatalf("the copy is not whole: %v", err)
	}
	if !slices.Contains(sizes, r.Size) {
		t.Fatalf("the copy has %d entries, want one of %d", r.Size, sizes)
	}
	return r.Size
}

// content returns the files of a folder, but for temporary ones and the lock.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" || strings.HasSuffix(path, ".tmp") {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
