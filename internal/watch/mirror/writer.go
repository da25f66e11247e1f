package mirror

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/tile"
)

// A copy is readable by everyone, so that a web server can serve it.
const (
	dirPerm  = 0o755
	filePerm = 0o644
)

// writers is the number of files that are written at once. There may be more of
// them than processors, as a writer mostly waits for the disk to sync.
const writers = 8

// A writer writes files of a copy, several at once. A file under its name is
// complete; the name itself is durable after sync. Its methods are called by one
// goroutine: put for each file, then close, then sync.
type writer struct {
	fsys  durable.FileSystem
	dir   string
	files chan file
	done  sync.WaitGroup

	mu     sync.Mutex
	failed error           // the first error
	dirs   map[string]bool // folders that sync must sync
}

// A file is one to be written, at a path below the copy's folder.
type file struct {
	path string
	data []byte
}

func newWriter(fsys durable.FileSystem, dir string) *writer {
	w := &writer{fsys: fsys, dir: dir, files: make(chan file), dirs: map[string]bool{}}
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
		w.failed = tile.Unchecked(err) // about this machine, not about the log
	}
}

func (w *writer) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// put queues a file, and waits while all writers are busy. The error is that of an
// earlier file: after one, nothing more is written.
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

// write writes a file, unless it is there already with the same content, left by
// an interrupted update.
func (w *writer) write(f file) error {
	path := filepath.Join(w.dir, filepath.FromSlash(f.path))
	if err := w.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, f.data) {
		return nil
	}
	return durable.Write(w.fsys, path, f.data, filePerm)
}

// makeDir makes a folder if it is missing, and remembers it for sync.
func (w *writer) makeDir(dir string) error {
	w.mu.Lock()
	known := w.dirs[dir]
	w.mu.Unlock()
	if known {
		return nil
	}
	if err := durable.MkdirAll(w.fsys, dir, dirPerm); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs[dir] = true
	return nil
}

// sync makes the names of all files durable.
func (w *writer) sync() error {
	var errs []error
	for _, dir := range slices.Sorted(maps.Keys(w.dirs)) {
		errs = append(errs, w.fsys.SyncDir(dir))
	}
	return tile.Unchecked(errors.Join(errs...))
}
