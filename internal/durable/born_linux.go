package durable

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Born returns when the file at path was created: not when it was written, nor what a
// backup's restore has set. It is zero where the system or the file system cannot tell.
// The error is fs.ErrNotExist if there is no file.
func Born(path string) (time.Time, error) {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &stat)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return time.Time{}, &fs.PathError{Op: "statx", Path: path, Err: err}
	case err != nil || stat.Mask&unix.STATX_BTIME == 0:
		return time.Time{}, nil
	}
	return time.Unix(stat.Btime.Sec, int64(stat.Btime.Nsec)).UTC(), nil
}
