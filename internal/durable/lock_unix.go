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

// unlockFile releases the lock. Closing is not enough: a child being forked may
// still hold the descriptor.
func unlockFile(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
