package durable

import (
	"errors"
	"io/fs"
	"os"
)

// ErrLocked means that another process, or this one, holds the lock.
var ErrLocked = errors.New("locked")

// Lock locks a file, which it makes if it is missing and never removes. It does
// not wait: the error is [ErrLocked] if the lock is held. The lock is released by
// unlock, or when the process ends.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	held, err := lock(f)
	if err == nil && held {
		err = ErrLocked
	}
	if err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() {
		unlockFile(f)
		_ = f.Close()
	}, nil
}
