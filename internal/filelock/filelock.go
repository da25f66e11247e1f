// Package filelock keeps two processes from using one folder.
package filelock

import (
	"errors"
	"os"
	"syscall"
)

// ErrHeld says that another process, or this one, holds the lock.
var ErrHeld = errors.New("the lock is held")

// Lock takes the lock that a file is, and makes the file if it is not there. It
// does not wait: the error is [ErrHeld]. The lock goes with the process.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrHeld
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() {
		// To close it is not enough while a process that is being started has what
		// this one has open.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close()
	}, nil
}
