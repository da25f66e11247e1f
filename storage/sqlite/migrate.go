package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stele-log/stele/internal/sqlitefile"
	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/storage"
)

// lockWait is how long Migrate waits for another that migrates, or for a server
// to stop.
const lockWait = 10 * time.Second

// Migrate brings the schema of the file at path up to date, and returns its
// version before (0 if it had none) and after. It makes the file if there is
// none. The error is ErrLeased if there is something to do while a server
// writes to the file.
func Migrate(ctx context.Context, path string) (from, to int64, err error) {
	from, to, err = migrate(ctx, path)
	if err != nil {
		return from, to, fmt.Errorf("migrate database %s: %w", path, err)
	}
	return from, to, nil
}

// migrate holds the file's lock while it works, as a server that writes does, so no
// server meets a schema that changes under it. It resolves links first: a lock is
// named after the file itself.
func migrate(ctx context.Context, path string) (from, to int64, err error) {
	if err := sqlitefile.Create(path); err != nil {
		return 0, 0, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return 0, 0, err
	}
	db, err := connect(path, "", 1)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	newest, err := migrations.SQLite.Newest()
	if err != nil {
		return 0, 0, err
	}
	lock, err := lockToMigrate(ctx, db, path, newest)
	if lock != nil {
		defer lock.Close()
	}
	if err != nil {
		return 0, 0, err
	}
	if from, err = version(ctx, db); err != nil || from == newest {
		return from, from, err
	}
	return migrations.SQLite.Up(ctx, db)
}

// lockToMigrate takes the file's lock, unless there is nothing to do, which
// another process may also see to while this one waits. A new file that others
// open, too, is busy for a moment: SQLite does not wait to give it a WAL.
func lockToMigrate(ctx context.Context, db *sql.DB, path string, newest int64) (*sql.DB, error) {
	for deadline := time.Now().Add(lockWait); ; {
		have, err := version(ctx, db)
		if err == nil && have >= newest {
			return nil, nil
		}
		var lock *sql.DB
		if err == nil {
			lock, err = lockFile(ctx, path)
		}
		if !isBusy(err) && !errors.Is(err, storage.ErrLeased) || time.Now().After(deadline) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
