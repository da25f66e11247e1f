package durable

import (
	"io/fs"
	"os"
	"runtime"
)

// KeysOpenToOthers returns which files with keys have permissions for other users than
// their owner, their group included. Files that are not there have none; nor has any
// file on Windows, where permissions are not in its mode.
func KeysOpenToOthers(files ...string) (open []string) {
	for _, file := range files {
		if permits(file, 0o077) {
			open = append(open, file)
		}
	}
	return open
}

// WritableByAll reports whether every user may make and replace files in a folder.
func WritableByAll(dir string) bool { return permits(dir, 0o002) }

func permits(path string, any fs.FileMode) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&any != 0
}
