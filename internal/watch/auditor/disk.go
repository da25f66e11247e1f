package auditor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Disk keeps files by name, such as "pending/12". Names have at most one
// slash.
type Disk interface {
	// Read returns a file's bytes. The error is fs.ErrNotExist if there is none.
	Read(name string) ([]byte, error)

	// Write makes or replaces a file, durably: after a crash there is the old one
	// or the new one, whole.
	Write(name string, data []byte) error

	// Remove removes a file, if there is one. After a crash it may be back.
	Remove(name string) error

	// List returns the names of the files in a folder, sorted: none if there is
	// no such folder.
	List(folder string) ([]string, error)
}

// Dir is a Disk in a folder of the file system, which it makes.
type Dir string

const tmpSuffix = ".tmp" // of files that may not be whole

func (d Dir) path(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

// Read implements Disk.
func (d Dir) Read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

// Write implements Disk.
func (d Dir) Write(name string, data []byte) error {
	path := d.path(name)
	if err := d.makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	tmp, err := os.OpenFile(path+tmpSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// makeFolder makes a folder that a crash does not lose: each new one is synced
// into the one above.
func (d Dir) makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	parent := filepath.Dir(folder)
	if parent != folder {
		if err := d.makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Remove implements Disk.
func (d Dir) Remove(name string) error {
	err := os.Remove(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List implements Disk.
func (d Dir) List(folder string) ([]string, error) {
	entries, err := os.ReadDir(d.path(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasSuffix(e.Name(), tmpSuffix) {
			names = append(names, folder+"/"+e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// sub is the part of a Disk below a prefix.
type sub struct {
	disk   Disk
	prefix string
}

func (s sub) Read(name string) ([]byte, error)     { return s.disk.Read(s.prefix + name) }
func (s sub) Write(name string, data []byte) error { return s.disk.Write(s.prefix+name, data) }
func (s sub) Remove(name string) error             { return s.disk.Remove(s.prefix + name) }

func (s sub) List(folder string) ([]string, error) {
	names, err := s.disk.List(s.prefix + folder)
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], s.prefix)
	}
	return names, err
}
