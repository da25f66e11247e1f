package mirror_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/internal/watch/mirror"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

func TestCopyFollowsTheLog(t *testing.T) {
	t.Parallel()
	l := memlog.New(t, 66200, memlog.NoFork)
	dir := t.TempDir()
	shown := map[uint64]bool{}
	last := uint64(0)
	for _, l.Size = range []uint64{0, 1, 2, 255, 256, 257, 511, 600, 65535, 65536, 66000, 66200, 66200} {
		u, err := update(t, l, dir, nil)
		if err != nil {
			t.Fatalf("size %d: %v", l.Size, err)
		}
		if u.Size != l.Size || u.Added != l.Size-last || u.Changed == shown[l.Size] {
			t.Errorf("size %d: the update says %+v", l.Size, u)
		}
		wantWhole(t, l, dir, l.Size)
		last, shown[l.Size] = l.Size, true
		wantFiles(t, dir, shown, l.Size)
	}
}

// wantFiles fails the test unless the folder holds what a log serves that has
// shown checkpoints of some sizes, and nothing else.
func wantFiles(t *testing.T, dir string, shown map[uint64]bool, size uint64) {
	t.Helper()
	want := map[string]bool{"checkpoint": true}
	for level := tile.Entries; level < 8; level++ {
		for s := range shown {
			for i := uint64(0); ; i++ {
				part, ok := tile.At(level, i, s)
				if !ok {
					break
				}
				if part.IsFull() || !part.Full().In(size) {
					want[part.Path()] = true
				}
			}
		}
	}
	got := slices.Sorted(maps.Keys(content(t, dir)))
	if want := slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("at size %d the files are\n%q\nwant\n%q", size, got, want)
	}
}

func TestInconsistentLogLeavesTheCopyAsItWas(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		size uint64 // of the copy
		fork int    // of the log that is shown then
		then uint64
	}{
		{"a fork at the same size", 600, 599, 600},
		{"a longer history that forks at the first entry", 600, 0, 700},
		{"a longer history that forks at the last entry", 600, 599, 700},
		{"a longer history that forks in a full tile", 1000, 300, 2000},
		{"a shorter history that forks", 600, 100, 400},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := memlog.New(t, 2000, memlog.NoFork)
			l.Size = c.size
			if _, err := update(t, l, dir, nil); err != nil {
				t.Fatal(err)
			}
			before := content(t, dir)
			other := memlog.New(t, 2000, c.fork)
			other.Size = c.then
			_, err := update(t, other, dir, nil)
			var forked *mirror.InconsistentError
			if !errors.As(err, &forked) {
				t.Fatalf("the error is %v, want an InconsistentError", err)
			}
			if forked.Copy != l.Head(c.size) || forked.Log != other.Head(c.then) ||
				!bytes.Equal(forked.CopyNote, l.Note(t, c.size)) || !bytes.Equal(forked.LogNote, other.Note(t, c.then)) {
				t.Errorf("the error says %+v", forked)
			}
			if !maps.Equal(before, content(t, dir)) {
				t.Error("the copy has changed")
			}
		})
	}
}

func TestOlderCheckpointIsNotFollowed(t *testing.T) {
	t.Parallel()
	l, dir := memlog.New(t, 600, memlog.NoFork), t.TempDir()
	if _, err := update(t, l, dir, nil); err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	l.Size = 300
	if _, err := update(t, l, dir, nil); !errors.Is(err, mirror.ErrBehind) {
		t.Errorf("the error is %v, want ErrBehind", err)
	}
	if !maps.Equal(before, content(t, dir)) {
		t.Error("the copy has changed")
	}
}

func TestWhatIsNotInTheTreeIsRefused(t *testing.T) {
	t.Parallel()
	flip := func(path string, at int) func(tile.Tile, []byte) []byte {
		return func(t tile.Tile, data []byte) []byte {
			if t.Path() == path {
				data[at] ^= 1
			}
			return data
		}
	}
	cases := []struct {
		name   string
		change func(tile.Tile, []byte) []byte
		want   string
	}{
		{"an entry of a full bundle", flip("tile/entries/001", 2+9*2), "entry 257 is not the one"},
		{"an entry of the last bundle", flip("tile/entries/003.p/132", 4), "entry 768 is not the one"},
		{"a length", flip("tile/entries/001", 1), "tile/entries/001"},
		{"a hash at the edge", flip("tile/0/003.p/132", 7), "the tiles at the right edge"},
		{"the hash of a tile", flip("tile/1/000.p/3", 7), "the tiles at the right edge"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, dir := memlog.New(t, 900, memlog.NoFork), t.TempDir()
			l.Size = 200
			if _, err := update(t, l, dir, nil); err != nil {
				t.Fatal(err)
			}
			l.Size, l.Change = 900, c.change
			if _, err := update(t, l, dir, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
			wantWhole(t, l, dir, 200)
			l.Change = nil
			if _, err := update(t, l, dir, nil); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, l, dir, 900)
			wantFiles(t, dir, map[uint64]bool{900: true}, 900)
		})
	}
}

// A tile above that lies leads nowhere, however wide the tree is.
func TestWrongTileAboveIsRefused(t *testing.T) {
	t.Parallel()
	l, dir := memlog.New(t, 66000, memlog.NoFork), t.TempDir()
	l.Change = func(t tile.Tile, data []byte) []byte {
		if t.Path() == "tile/1/000" {
			data[100] ^= 1
		}
		return data
	}
	_, err := update(t, l, dir, nil)
	if err == nil || !strings.Contains(err.Error(), "tile/1/000 is not the one in the tree") {
		t.Errorf("the error is %v", err)
	}
}

func TestOtherLogsAndStrangersAreRefused(t *testing.T) {
	t.Parallel()
	l, dir := memlog.New(t, 10, memlog.NoFork), t.TempDir()
	if _, err := update(t, l, dir, nil); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 32)), "log.example/two")
	if err != nil {
		t.Fatal(err)
	}
	other := memlog.New(t, 20, memlog.NoFork)
	if other.Signer, err = checkpoint.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, other, dir, nil); err == nil || !strings.Contains(err.Error(), "this is the log") {
		t.Errorf("a stranger's log: the error is %v", err)
	}
	if other.Policy, err = policy.ForLog(l.Policy.Logs()[0].VKey, vkey); err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, other, dir, nil); err == nil || !strings.Contains(err.Error(), "give it another folder") {
		t.Errorf("another log: the error is %v", err)
	}
}

func TestDamagedCopyIsNotExtended(t *testing.T) {
	t.Parallel()
	l, dir := memlog.New(t, 600, memlog.NoFork), t.TempDir()
	l.Size = 300
	if _, err := update(t, l, dir, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tile/0/001.p/44")
	if err := os.WriteFile(path, make([]byte, 44*32), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Size = 600
	if _, err := update(t, l, dir, nil); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("the error is %v", err)
	}
}

func TestTwoMirrorsCannotShareAFolder(t *testing.T) {
	t.Parallel()
	l, dir := memlog.New(t, 10, memlog.NoFork), t.TempDir()
	m, err := mirror.Open(mirror.Config{Log: l, Dir: dir, Policy: l.Policy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, l, dir, nil); err == nil || !strings.Contains(err.Error(), "another mirror") {
		t.Errorf("the error is %v", err)
	}
	m.Close()
	if _, err := update(t, l, dir, nil); err != nil {
		t.Error(err)
	}
}
