// Package faultfs is a file system for tests that fails at one of its steps, and
// at all after it, as for a process that is killed there. It can also lose, as a
// power failure does, all that was not durable.
package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stele-log/stele/internal/durable"
)

// Err is the error of steps that fail.
var Err = errors.New("the disk failed")

// An FS is a durable.FileSystem with faults, over that of the system. It is safe
// for concurrent use.
type FS struct {
	at    int    // the step, from 1, to fail at; 0 for none
	late  bool   // the step that fails is done all the same
	attic string // where what was removed is kept

	mu    sync.Mutex
	steps int
	undo  map[string][]func() error // by folder: what reverts the changes since it was synced
}

var _ durable.FileSystem = (*FS)(nil)

// New returns a file system that fails at a step, counted from 1; at none if at
// is 0. If late, that step is done all the same.
func New(t testing.TB, at int, late bool) *FS {
	return &FS{at: at, late: late, attic: t.TempDir(), undo: map[string][]func() error{}}
}

// Steps returns the number of steps so far, those that failed included.
func (f *FS) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

// Heal lets all further steps succeed.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = 0
}

// CutPower reverts all that is not durable.
func (f *FS) CutPower() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	// What is deeper was done later.
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(f.undo))) {
		for _, undo := range slices.Backward(f.undo[dir]) {
			if err := undo(); err != nil {
				return err
			}
		}
	}
	clear(f.undo)
	return nil
}

// step does one step, unless the file system has failed. The step that fails does
// what torn does, if it is not late.
func (f *FS) step(do, torn func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps++
	switch {
	case f.at == 0 || f.steps < f.at:
		return do()
	case f.steps > f.at:
		return Err
	case !f.late:
		do = torn
	}
	if err := do(); err != nil {
		return err
	}
	return Err
}

func nothing() error { return nil }

// change changes the name at path and remembers how to revert that.
func (f *FS) change(path string, do, undo func() error) error {
	if err := do(); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f.undo[dir] = append(f.undo[dir], undo)
	return nil
}

func (f *FS) Mkdir(dir string, perm fs.FileMode) error {
	return f.step(func() error {
		return f.change(dir,
			func() error { return durable.System.Mkdir(dir, perm) },
			func() error { return os.RemoveAll(dir) })
	}, nothing)
}

// WriteFile leaves half of the content if it fails.
func (f *FS) WriteFile(path string, perm fs.FileMode, write func(io.Writer) error) error {
	system := func(write func(io.Writer) error) error {
		do := func() error { return durable.System.WriteFile(path, perm, write) }
		if _, err := os.Stat(path); err == nil {
			return do()
		}
		return f.change(path, do, func() error { return os.RemoveAll(path) })
	}
	return f.step(func() error { return system(write) }, func() error {
		var whole bytes.Buffer
		if err := write(&whole); err != nil {
			return err
		}
		return system(func(w io.Writer) error {
			_, err := w.Write(whole.Bytes()[:whole.Len()/2])
			return err
		})
	})
}

func (f *FS) Link(from, to string) error {
	return f.step(func() error {
		return f.change(to,
			func() error { return durable.System.Link(from, to) },
			func() error { return os.Remove(to) })
	}, nothing)
}

func (f *FS) Rename(from, to string) error {
	return f.step(func() error {
		old, err := os.ReadFile(to)
		return f.change(to,
			func() error { return durable.System.Rename(from, to) },
			func() error {
				if err != nil {
					return os.RemoveAll(to)
				}
				return os.WriteFile(to, old, 0o600)
			})
	}, nothing)
}

func (f *FS) RemoveAll(path string) error {
	return f.step(func() error {
		if _, err := os.Lstat(path); err != nil {
			return durable.System.RemoveAll(path)
		}
		kept := filepath.Join(f.attic, strconv.Itoa(f.steps))
		return f.change(path,
			func() error { return os.Rename(path, kept) },
			func() error { return os.Rename(kept, path) })
	}, nothing)
}

func (f *FS) SyncDir(dir string) error {
	return f.step(func() error {
		delete(f.undo, filepath.Clean(dir))
		return durable.System.SyncDir(dir)
	}, nothing)
}
