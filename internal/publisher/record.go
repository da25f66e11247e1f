package publisher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/checkpoint"
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

// Size returns the size of the tree that was signed last, 0 if there is no record.
func (r Record) Size() (uint64, error) {
	msg, err := r.Load()
	if err != nil || msg == nil {
		return 0, err
	}
	c, err := checkpoint.ParseNote(msg)
	if err != nil {
		return 0, fmt.Errorf("%s, which records what was signed last, is damaged: %w", r.name(), err)
	}
	return c.Size, nil
}

// Store replaces the checkpoint, durably: after a crash the file holds the old
// one or the new one, whole.
func (r Record) Store(msg []byte) error {
	return durable.Replace(durable.System, string(r), msg, 0o600)
}

// name returns the file's name without its folder, which is nobody else's business.
func (r Record) name() string { return filepath.Base(string(r)) }
