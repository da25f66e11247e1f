package auditor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stele-log/stele/internal/durable"
)

// A stateDir is the state folder of one log. Its files have slash-separated names
// such as "pending/12", and only their owner can read them.
type stateDir struct {
	fsys durable.FileSystem
	dir  string
}

func (d stateDir) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

// read returns the content of a file. The error is fs.ErrNotExist if there is
// none.
func (d stateDir) read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

// write makes or replaces a file, durably: after a crash there is the old one or
// the new one, whole.
func (d stateDir) write(name string, data []byte) error {
	path := d.path(name)
	if err := durable.MkdirAll(d.fsys, filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Replace(d.fsys, path, data, 0o600)
}

// remove removes a file, if there is one. A crash may bring it back.
func (d stateDir) remove(name string) error { return d.fsys.RemoveAll(d.path(name)) }

// list returns the names of the files in a folder below this one, sorted, without
// temporary ones. There are none if there is no such folder.
func (d stateDir) list(below string) ([]string, error) {
	entries, err := os.ReadDir(d.path(below))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasSuffix(e.Name(), durable.TempSuffix) {
			names = append(names, below+"/"+e.Name())
		}
	}
	return names, nil
}
