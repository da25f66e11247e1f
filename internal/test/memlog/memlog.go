// Package memlog is a log in memory for tests of whatever reads logs. It can be
// forked, and it can lie.
package memlog

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// Origin is that of every log.
const Origin = "log.example/one"

// A log is one in memory, which can lie.
type Log struct {
	Signer  note.Signer
	Policy  *policy.Policy
	entries [][]byte
	levels  [][]tree.Hash
	Size    uint64 // of the checkpoint that it shows

	mu    sync.Mutex
	Reads map[tile.Tile]int

	// Change, if not nil, changes what a tile's bytes are.
	Change func(t tile.Tile, data []byte) []byte
}

// New returns a log of n entries; those from entry fork on are other than in
// a log with another fork.
func New(t testing.TB, n, fork int) *Log {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(make([]byte, 32)), Origin)
	if err != nil {
		t.Fatal(err)
	}
	l := &Log{Size: uint64(n), Reads: map[tile.Tile]int{}}
	if l.Signer, err = checkpoint.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if l.Policy, err = policy.ForLog(vkey); err != nil {
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

// NoFork is the fork of a log that has none.
const NoFork = 1 << 30

// Head returns the head of the tree of a size.
func (l *Log) Head(size uint64) tree.Head {
	var f tree.Frontier
	if size > 0 {
		f.Append(l.levels[0][:size])
	}
	return f.Head()
}

// Note returns the checkpoint of a size.
func (l *Log) Note(t testing.TB, size uint64) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: Origin, Head: l.Head(size)}, l.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// ReadCheckpoint returns the checkpoint that the log shows.
func (l *Log) ReadCheckpoint(context.Context) ([]byte, error) {
	return checkpoint.Sign(checkpoint.Checkpoint{Origin: l.Signer.Name(), Head: l.Head(l.Size)}, l.Signer)
}

// ReadTile returns a tile or bundle of the tree that the log shows.
func (l *Log) ReadTile(_ context.Context, t tile.Tile) (data []byte, err error) {
	l.mu.Lock()
	l.Reads[t]++
	l.mu.Unlock()
	if !t.In(l.Size) {
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
		data = tree.JoinTile(l.levels[t.Level][start : start+t.Width])
	}
	if l.Change != nil {
		data = l.Change(t, data)
	}
	return data, nil
}
