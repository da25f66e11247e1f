package publisher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Record is the file that holds the last checkpoint that was signed, outside
// the database.
type Record string

// Load returns the checkpoint, or nil if there is no file.
func (r Record) Load() ([]byte, error) {
	msg, err := os.ReadFile(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return msg, err
}

// Store replaces the checkpoint, durably: after a crash the file holds the old
// one or the new one, whole.
func (r Record) Store(msg []byte) error {
	tmp, err := os.OpenFile(string(r)+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(msg)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), string(r)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(string(r)))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (r Record) String() string { return string(r) }
