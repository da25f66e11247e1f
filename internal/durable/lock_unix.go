//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// lock locks an open file, or reports that the lock is held by another.
func lock(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// unlockFile ends the lock. Closing the file is not enough: a child process that
// is just being started may still hold its descriptor.
func unlockFile(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
