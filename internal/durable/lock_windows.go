package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockedBytes is how much of the file is locked, from its start. It is empty:
// Windows locks bytes that are not there.
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

// unlockFile ends the lock, which Windows would otherwise end some time after
// the file is closed.
func unlockFile(f *os.File) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, lockedBytes, 0, &windows.Overlapped{})
}
