package mirror

import (
	"errors"
	"os"
)

// A Disk is what a copy is written through. All paths are the system's. It must
// be safe for concurrent use.
type Disk interface {
	MkdirAll(dir string) error

	// WriteFile makes or replaces a file in a folder that exists. Its content is
	// durable, its name need not be.
	WriteFile(path string, data []byte) error

	// Rename gives a file the name of another, which it replaces.
	Rename(from, to string) error

	// SyncDir makes durable what was made, renamed and removed in a folder.
	SyncDir(dir string) error

	// RemoveAll removes a folder and all that is in it, if it is there.
	RemoveAll(dir string) error
}

// System is the Disk of the operating system. Everybody may read what it
// writes, so that a web server can.
type System struct{}

// MkdirAll implements Disk.
func (System) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

// WriteFile implements Disk.
func (System) WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Rename implements Disk.
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir implements Disk.
func (System) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// RemoveAll implements Disk.
func (System) RemoveAll(dir string) error { return os.RemoveAll(dir) }
