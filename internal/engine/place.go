package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/storage"
)

// A place is what a data folder remembers of where it is. It keeps a folder and a
// database that were restored from one backup, together, from being served: the two
// agree, so the record does not show what was signed since, and the log would be signed
// on in another way. A copy of the folder alone, such as a second server's, is still
// with the database that it belongs to; and a database that was restored, or has failed
// over, is still with a folder whose record knows what was signed.
type place struct {
	Created  time.Time `json:"created"`  // of this very file: that of a copy is later
	Database string    `json:"database"` // see storage.Store
}

func placeOf(dir string) string { return filepath.Join(dir, "place.json") }

// LeavePlace makes a data folder forget where it was: whoever restores a log from a copy
// has seen to it that nothing newer was signed.
func LeavePlace(dir string) error {
	if err := durable.System.RemoveAll(placeOf(dir)); err != nil {
		return err
	}
	return durable.System.SyncDir(dir)
}

// takePlace fails if both the data folder and its database are others than when the
// folder was last served. Otherwise it remembers both. A file that is empty was being
// written when the machine crashed.
func takePlace(ctx context.Context, dir string, store storage.Store) error {
	path := placeOf(dir)
	now := place{}
	var err error
	if now.Database, err = store.Identity(ctx); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return now.remember(path)
	}
	if err != nil {
		return err
	}
	var before place
	if err := json.Unmarshal(text, &before); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if now.Created, err = durable.Born(path); err != nil {
		return err
	}
	copied := !now.Created.IsZero() && !now.Created.Equal(before.Created)
	if copied && now.Database != before.Database {
		return fmt.Errorf("the data folder %s and its database are both copies: if they were restored from a backup, "+
			"what was signed since would be contradicted; docs/operations.md has the way to restore. If both were only moved, "+
			"and no server has run in the old place since, remove %s", dir, path)
	}
	if copied || now.Database != before.Database {
		return now.remember(path)
	}
	return nil
}

// remember writes the place to a new file.
func (p place) remember(path string) error {
	if err := durable.System.RemoveAll(path); err != nil {
		return err
	}
	err := durable.System.WriteFile(path, 0o600, func(w io.Writer) (err error) {
		if p.Created, err = durable.Born(path); err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(p)
	})
	if err != nil {
		return err
	}
	return durable.System.SyncDir(filepath.Dir(path))
}
