package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockedBytes is the length of the locked range, from the start of the file. The
// file is empty, but Windows also locks bytes beyond the end.
const lockedBytes = 1

// lock locks an open file, or reports that the lock is held by another.
func lock(f *os.File) (held bool, err error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, lockedBytes, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	return false, err
}

// unlockFile releases the lock. After a mere close, Windows may release it some
// time later.
func unlockFile(f *os.File) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, lockedBytes, 0, &windows.Overlapped{})
}
