//go:build !linux

package durable

import (
	"os"
	"time"
)

// Born returns when the file at path was created, which on this system is zero: it
// cannot tell. The error is fs.ErrNotExist if there is no file.
func Born(path string) (time.Time, error) {
	_, err := os.Stat(path)
	return time.Time{}, err
}
