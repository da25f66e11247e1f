// Package migrations holds the databases' schemas as numbered SQL files, one
// folder a database. Each file opens with why its tables are as they are.
//
// What always holds:
//   - files are applied in order, forward only, each in one transaction;
//   - a file is never edited once it was released: a change is a new file.
//
// The drivers in storage apply them, through github.com/pressly/goose.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Postgres holds the schema of PostgreSQL, in the folder "postgres".
//
//go:embed postgres/*.sql
var Postgres embed.FS

// SQLite holds the schema of SQLite, in the folder "sqlite".
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// Newest returns the number of the last file in a folder of fsys: the version
// of the schema that this program was made for.
func Newest(fsys fs.FS, folder string) (int64, error) {
	files, err := fs.ReadDir(fsys, folder)
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var newest int64
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s: the name must begin with its number", f.Name())
		}
		newest = max(newest, n)
	}
	return newest, nil
}
