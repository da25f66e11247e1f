package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stele-log/stele/internal/durable"
)

// lockDir keeps two servers from using one data folder: they would sign with
// the same keys.
func lockDir(dir string) (unlock func(), err error) {
	unlock, err = durable.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another server uses the data folder %s; stop it, or choose another with --data", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return unlock, nil
}
