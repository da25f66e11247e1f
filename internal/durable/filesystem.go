package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// A FileSystem changes files and folders. Each method is one step, so that a test
// can fail at each of them; files are read with package os. Paths are those of the
// operating system. It is safe for concurrent use.
type FileSystem interface {
	// Mkdir makes one folder; the error is fs.ErrExist if there is one.
	Mkdir(dir string, perm fs.FileMode) error

	// WriteFile makes a file, or empties it, and calls write for its content. Once
	// it returns, the content is durable; the name need not be. If write fails,
	// there is no file.
	WriteFile(path string, perm fs.FileMode, write func(io.Writer) error) error

	// Link gives a file another name; the error is fs.ErrExist if there is one.
	Link(from, to string) error

	// Rename gives a file the name of another, which it replaces.
	Rename(from, to string) error

	// RemoveAll removes a file or a folder with all that is in it, if it is there.
	RemoveAll(path string) error

	// SyncDir makes the names in a folder durable: files and folders that were
	// made, renamed or removed. On Windows it does nothing.
	SyncDir(dir string) error
}

// System is the FileSystem of the operating system.
var System FileSystem = system{}

type system struct{}

func (system) Mkdir(dir string, perm fs.FileMode) error { return os.Mkdir(dir, perm) }

func (system) WriteFile(path string, perm fs.FileMode, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (system) Link(from, to string) error { return os.Link(from, to) }

func (system) Rename(from, to string) error { return os.Rename(from, to) }

func (system) RemoveAll(path string) error { return os.RemoveAll(path) }

func (system) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
