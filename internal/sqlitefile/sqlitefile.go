// Package sqlitefile opens SQLite databases in files, by modernc.org/sqlite.
//
// What always holds:
//   - a transaction is on the disk when its commit returns (write-ahead log,
//     synchronous=FULL);
//   - constraints are enforced, foreign keys included, and nobody can write to the
//     schema's own tables;
//   - a file is readable by its owner alone, as are those that SQLite puts beside it.
//
// All functions may be called by many goroutines at once.
package sqlitefile

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// Create makes an empty file, if there is none.
func Create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Open returns a pool of n connections to the file at path, which must be there.
// The parameters, if any, are those of modernc.org/sqlite, such as
// "_query_only=1&_txlock=immediate". A writer waits up to 10 seconds for another.
func Open(path, params string, n int) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=rw" +
		"&_busy_timeout=10000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1&_defensive=1&_dqs=0&" + params}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}
