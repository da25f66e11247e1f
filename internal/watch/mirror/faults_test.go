package mirror_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/test/faultfs"
	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/pkg/tile"
)

// TestCopyIsWholeAfterAFaultAtEachStep stops an update at each of its steps, in
// three ways, and has the next one end it.
func TestCopyIsWholeAfterAFaultAtEachStep(t *testing.T) {
	t.Parallel()
	const from, to = 300, 900
	for _, way := range []string{"failed", "failed but done", "power lost"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				l, dir := memlog.New(t, to, memlog.NoFork), t.TempDir()
				l.Size = from
				if _, err := update(t, l, dir, nil); err != nil {
					t.Fatal(err)
				}
				l.Size = to
				fsys := faultfs.New(t, at, way != "failed")
				_, err := update(t, l, dir, fsys)
				if err == nil { // there is no such step
					wantDurable(t, l, dir, fsys)
					return
				}
				if !errors.Is(err, faultfs.Err) {
					t.Fatalf("step %d: %v", at, err)
				}
				if way == "power lost" {
					if err := fsys.CutPower(); err != nil {
						t.Fatal(err)
					}
				}
				wantWhole(t, l, dir, from, to)
				if _, err := update(t, l, dir, nil); err != nil {
					t.Fatalf("step %d: the update after it: %v", at, err)
				}
				wantWhole(t, l, dir, to)
				wantFiles(t, dir, map[uint64]bool{from: true, to: true}, to)
			}
		})
	}
}

// wantDurable fails the test if the copy, which is up to date, loses anything
// with the power.
func wantDurable(t *testing.T, l *memlog.Log, dir string, fsys *faultfs.FS) {
	t.Helper()
	if err := fsys.CutPower(); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, l, dir, l.Size)
}

func TestFirstCopyIsWholeOrNotThereAfterAFault(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		l, dir := memlog.New(t, 300, memlog.NoFork), filepath.Join(t.TempDir(), "copy")
		fsys := faultfs.New(t, at, at%2 == 0)
		_, err := update(t, l, dir, fsys)
		if err == nil {
			wantDurable(t, l, dir, fsys)
			return
		}
		if err := fsys.CutPower(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
			wantWhole(t, l, dir, 300)
		}
		if _, err := update(t, l, dir, nil); err != nil {
			t.Fatalf("step %d: the update after it: %v", at, err)
		}
		wantWhole(t, l, dir, 300)
	}
}

// TestWhatIsThereIsNotFetchedAgain stops a first copy just before its
// checkpoint.
func TestWhatIsThereIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	l, dir := memlog.New(t, 5000, memlog.NoFork), t.TempDir()
	if _, err := update(t, l, dir, lastFails{durable.System}); !errors.Is(err, faultfs.Err) {
		t.Fatal(err)
	}
	clear(l.Reads)
	if _, err := update(t, l, dir, nil); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, l, dir, 5000)
	for got := range l.Reads {
		if got.Level == tile.Entries && got.IsFull() {
			t.Errorf("%s was fetched again", got)
		}
	}

	// What was changed meanwhile is.
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { b[5] ^= 1; return b },
		func(b []byte) []byte { return b[:100] },
	} {
		if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "tile/entries/003")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := update(t, l, dir, nil); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, l, dir, 5000)
	}
}

// lastFails cannot write the checkpoint.
type lastFails struct{ durable.FileSystem }

func (l lastFails) Rename(from, to string) error {
	if filepath.Base(to) == "checkpoint" {
		return faultfs.Err
	}
	return l.FileSystem.Rename(from, to)
}
