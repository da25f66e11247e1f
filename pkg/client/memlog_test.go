package client_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

const memOrigin = "log.example/mem"

// A memLog is a log laid out as files in memory.
type memLog struct {
	fstest.MapFS
	entries [][]byte
	signer  note.Signer
	vkey    string
}

// newMemLog returns a log of made-up entries, signed.
func newMemLog(t *testing.T, size int) *memLog {
	t.Helper()
	entries := make([][]byte, size)
	for i := range entries {
		entries[i] = fmt.Appendf(nil, "entry %d", i)
	}
	l := &memLog{entries: entries}
	l.useKey(t, memOrigin, 1)
	l.write(t)
	return l
}

// useKey makes the log sign with the key that a seed gives.
func (l *memLog) useKey(t testing.TB, origin string, seed byte) {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	l.vkey = vkey
	if l.signer, err = checkpoint.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
}

// write lays all files out again.
func (l *memLog) write(t *testing.T) {
	t.Helper()
	l.MapFS = fstest.MapFS{}
	l.writeTiles(t)
	l.put("checkpoint", l.sign(t, l.head(len(l.entries))))
}

func (l *memLog) put(path string, data []byte) { l.MapFS[path] = &fstest.MapFile{Data: data} }

// writeTiles lays out the bundles and tiles that follow from the entries.
func (l *memLog) writeTiles(t *testing.T) {
	t.Helper()
	var f tree.Frontier
	size := uint64(len(l.entries))
	for index := uint64(0); ; index++ {
		at, ok := tile.At(tile.Entries, index, size)
		if !ok {
			break
		}
		var bundle []byte
		var leaves []tree.Hash
		for _, e := range l.entries[at.Start() : at.Start()+uint64(at.Width)] {
			var err error
			if bundle, err = tile.AppendEntry(bundle, e); err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, tree.LeafHash(e))
		}
		l.put(at.Path(), bundle)
		for _, full := range f.Append(leaves) {
			l.put(full.Tile.Path(), full.Data)
		}
	}
	for level := 0; f.Partial(level) != nil; level++ {
		if at, ok := tile.At(level, size>>(8*(level+1)), size); ok {
			l.put(at.Path(), tree.JoinTile(f.Partial(level)))
		}
	}
}

// head returns the head of the tree over the first entries.
func (l *memLog) head(size int) tree.Head {
	var f tree.Frontier
	for _, e := range l.entries[:size] {
		f.Append([]tree.Hash{tree.LeafHash(e)})
	}
	return f.Head()
}

// sign returns the checkpoint of a head.
func (l *memLog) sign(t testing.TB, head tree.Head) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: l.signer.Name(), Head: head}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// policy trusts the log's key.
func (l *memLog) policy(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.ForLog(l.vkey)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clone returns a copy of the log to tamper with.
func (l *memLog) clone() *memLog {
	c := *l
	c.MapFS = maps.Clone(l.MapFS)
	return &c
}
