package mirror_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/internal/watch/mirror"
	"github.com/stele-log/stele/pkg/tile"
)

var errFault = errors.New("the disk failed")

// A faulty is a Disk that fails at one step, and at each after it.
type faulty struct {
	mirror.System
	at   int  // the step, from 1; 0 for never
	done bool // the step that fails is done all the same

	mu    sync.Mutex
	steps int

	// undo are, by folder, what was done there since it was last made durable.
	undo map[string][]func() error
}

// step does one step, unless the disk has failed.
func (d *faulty) step(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	switch {
	case d.at == 0 || d.steps < d.at:
		return do()
	case d.steps == d.at && d.done:
		if err := do(); err != nil {
			return err
		}
	}
	return errFault
}

// later has a folder lose a change if the power goes before it is synced.
func (d *faulty) later(path string, undo func() error) {
	if d.undo == nil {
		d.undo = map[string][]func() error{}
	}
	dir := filepath.Dir(path)
	d.undo[dir] = append(d.undo[dir], undo)
}

// cutPower undoes all that was not durable.
func (d *faulty) cutPower() error {
	// What is deeper was done later.
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(d.undo))) {
		for _, undo := range slices.Backward(d.undo[dir]) {
			if err := undo(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *faulty) MkdirAll(dir string) error {
	return d.step(func() error {
		for parent := dir; ; parent = filepath.Dir(parent) {
			if _, err := os.Stat(parent); err == nil {
				break
			}
			d.later(parent, func() error { return os.RemoveAll(parent) })
		}
		return d.System.MkdirAll(dir)
	})
}

func (d *faulty) WriteFile(path string, data []byte) error {
	err := d.step(func() error { return d.System.WriteFile(path, data) })
	if err != nil {
		_ = os.WriteFile(path, data[:len(data)/2], 0o600) // torn
	}
	return err
}

func (d *faulty) Rename(from, to string) error {
	return d.step(func() error {
		old, err := os.ReadFile(to)
		d.later(to, func() error {
			if err != nil {
				return os.RemoveAll(to)
			}
			return os.WriteFile(to, old, 0o600)
		})
		return d.System.Rename(from, to)
	})
}

func (d *faulty) SyncDir(dir string) error {
	return d.step(func() error {
		delete(d.undo, dir)
		return d.System.SyncDir(dir)
	})
}

func (d *faulty) RemoveAll(dir string) error {
	return d.step(func() error { return d.System.RemoveAll(dir) })
}

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
				disk := &faulty{at: at, done: way != "failed"}
				_, err := update(t, l, dir, disk)
				if err == nil { // there is no such step
					wantDurable(t, l, dir, disk)
					return
				}
				if !errors.Is(err, errFault) {
					t.Fatalf("step %d: %v", at, err)
				}
				if way == "power lost" {
					if err := disk.cutPower(); err != nil {
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
func wantDurable(t *testing.T, l *memlog.Log, dir string, disk *faulty) {
	t.Helper()
	if err := disk.cutPower(); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, l, dir, l.Size)
}

func TestFirstCopyIsWholeOrNotThereAfterAFault(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		l, dir := memlog.New(t, 300, memlog.NoFork), filepath.Join(t.TempDir(), "copy")
		disk := &faulty{at: at, done: at%2 == 0}
		_, err := update(t, l, dir, disk)
		if err == nil {
			wantDurable(t, l, dir, disk)
			return
		}
		if err := disk.cutPower(); err != nil {
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
	if _, err := update(t, l, dir, &lastFails{}); !errors.Is(err, errFault) {
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
	if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tile/entries/003")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[5] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := update(t, l, dir, nil); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, l, dir, 5000)
}

// lastFails cannot write the checkpoint.
type lastFails struct{ mirror.System }

func (lastFails) Rename(from, to string) error {
	if filepath.Base(to) == "checkpoint" {
		return errFault
	}
	return os.Rename(from, to)
}
