package publisher

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stele-log/stele/internal/durable"
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
	return durable.Replace(durable.System, string(r), msg, 0o600)
}

// name returns the file's name without its folder, which is nobody else's business.
func (r Record) name() string { return filepath.Base(string(r)) }
