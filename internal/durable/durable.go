// Package durable writes files and makes folders so that a crash, of the process
// or of the whole machine, loses nothing. It also locks folders.
//
// What always holds:
//   - a file under its name is complete: a crash leaves either the content it had
//     before or all of the new one;
//   - once a function has returned without an error, a crash does not undo it;
//   - after an error other than those documented, the change may or may not have
//     been made. Calling the function again is safe, and completes it;
//   - temporary files lie beside the file they are for and end in [TempSuffix].
//     None is left after success; a crash may leave one.
//
// A name is durable once the folder that it is in is synced. Windows cannot sync
// folders: there a crash of the machine may undo the latest changes of names,
// and permissions are those that a file inherits from its folder.
//
// Create, MkdirAll and Lock may be called concurrently for the same path, all
// other functions only for different paths.
package durable

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// TempSuffix ends the names of files that may not be complete.
const TempSuffix = ".tmp"

// Replace makes or replaces a file. Its permissions are perm (before umask).
func Replace(fsys FileSystem, path string, data []byte, perm fs.FileMode) error {
	return ReplaceFunc(fsys, path, perm, writes(data))
}

// ReplaceFunc is Replace for content that is too large for memory. If write fails,
// the file stays as it was, and ReplaceFunc returns write's error.
func ReplaceFunc(fsys FileSystem, path string, perm fs.FileMode, write func(io.Writer) error) error {
	if err := rename(fsys, path, perm, write); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// Write is Replace without its last step, for many files in one folder: their
// names are durable once SyncDir has been called for it.
func Write(fsys FileSystem, path string, data []byte, perm fs.FileMode) error {
	return rename(fsys, path, perm, writes(data))
}

// rename writes a temporary file and gives it its name.
func rename(fsys FileSystem, path string, perm fs.FileMode, write func(io.Writer) error) error {
	temp := path + TempSuffix
	if err := fsys.WriteFile(temp, perm, write); err != nil {
		return err
	}
	if err := fsys.Rename(temp, path); err != nil {
		return errors.Join(err, fsys.RemoveAll(temp))
	}
	return nil
}

// Create makes a file, and never replaces one: if there is one, it makes sure that
// its name is durable and returns [fs.ErrExist]. Of concurrent calls, one succeeds.
// Its permissions are perm (before umask). The file system must have hard links.
func Create(fsys FileSystem, path string, data []byte, perm fs.FileMode) error {
	// Another call may be creating the same file.
	temp := path + "." + rand.Text() + TempSuffix
	if err := fsys.WriteFile(temp, perm, writes(data)); err != nil {
		return err
	}
	linked, removed := fsys.Link(temp, path), fsys.RemoveAll(temp)
	exists := errors.Is(linked, fs.ErrExist)
	if linked != nil && !exists {
		return errors.Join(linked, removed)
	}
	if err := errors.Join(removed, fsys.SyncDir(filepath.Dir(path))); err != nil {
		return err
	}
	if exists {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return nil
}

// MkdirAll makes a folder and those that it is in, unless they are there. The
// permissions of those it makes are perm (before umask).
func MkdirAll(fsys FileSystem, dir string, perm fs.FileMode) error {
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil
	}
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	case err == nil:
		// Its name may not be durable: an earlier call may have failed or crashed before
		// SyncDir. If the parent cannot be opened, somebody else made the folder.
		err := fsys.SyncDir(parent)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	}
	if err := MkdirAll(fsys, parent, perm); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

func writes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	}
}
