// Package keyfile keeps signing keys in files that only their owner can read.
//
// What always holds:
//   - a key that is there is never replaced;
//   - a crash leaves no file, or a whole one that is durable.
package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Create writes a signing key, as generate returns it, to a new file of mode
// 0600. If the file is there it does nothing.
func Create(path string, generate func() (skey, vkey string, err error)) error {
	skey, _, err := generate()
	if err != nil {
		return err
	}
	dir, name := filepath.Split(path)
	tmp, err := os.CreateTemp(dir, name+".*.tmp") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(skey + "\n")
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The name is durable once the folder is.
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read returns the signing key in a file.
func Read(path string) (skey string, err error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
