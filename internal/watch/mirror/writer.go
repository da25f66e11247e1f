package mirror

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// writers is the number of files that are written at once: most of the time a
// writer waits for the disk.
const writers = 8

// A writer writes files of a copy, several at once, each whole or not at all.
// Its methods are called by one goroutine.
type writer struct {
	disk  Disk
	dir   string
	files chan file
	done  sync.WaitGroup

	mu     sync.Mutex
	failed error           // the first error
	dirs   map[string]bool // folders with new names in them
}

// A file is one to be written, at a path below the copy's folder.
type file struct {
	path string
	data []byte
}

func newWriter(disk Disk, dir string) *writer {
	w := &writer{disk: disk, dir: dir, files: make(chan file), dirs: map[string]bool{}}
	for range writers {
		w.done.Go(func() {
			for f := range w.files {
				if err := w.write(f); err != nil {
					w.fail(err)
				}
			}
		})
	}
	return w
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

func (w *writer) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// put has a file written. The error is that of any file before it.
func (w *writer) put(path string, data []byte) error {
	if err := w.err(); err != nil {
		return err
	}
	w.files <- file{path, data}
	return nil
}

// close waits until all files are written.
func (w *writer) close() error {
	close(w.files)
	w.done.Wait()
	return w.err()
}

// write writes a file, unless it is there already.
func (w *writer) write(f file) error {
	path := filepath.Join(w.dir, filepath.FromSlash(f.path))
	if err := w.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, f.data) {
		return nil
	}
	if err := w.disk.WriteFile(path+".tmp", f.data); err != nil {
		return err
	}
	return w.disk.Rename(path+".tmp", path)
}

// makeDir makes a folder, and remembers it and those that it is in.
func (w *writer) makeDir(dir string) error {
	w.mu.Lock()
	known := w.dirs[dir]
	w.mu.Unlock()
	if known {
		return nil
	}
	if err := w.disk.MkdirAll(dir); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; len(dir) >= len(w.dir); dir = filepath.Dir(dir) {
		w.dirs[dir] = true
	}
	return nil
}

// sync makes the names of all files durable.
func (w *writer) sync() error {
	var errs []error
	for _, dir := range slices.Sorted(maps.Keys(w.dirs)) {
		errs = append(errs, w.disk.SyncDir(dir))
	}
	return errors.Join(errs...)
}
