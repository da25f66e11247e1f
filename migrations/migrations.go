// Package migrations holds the databases' schemas as numbered SQL files, one
// folder a database, and applies them, through github.com/pressly/goose. Each file
// opens with why its tables are as they are.
//
// What always holds:
//   - files are applied in order, forward only, each in one transaction;
//   - a file is never edited once it was released: a change is a new file;
//   - a schema that a newer program has made is left alone.
//
// All functions may be called by many goroutines and processes at once.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed postgres/*.sql sqlite/*.sql witness/postgres/*.sql witness/sqlite/*.sql
var files embed.FS

// A Schema is the files of one database, and the table there that has the numbers
// of those that were applied.
type Schema struct {
	dialect goose.Dialect
	folder  string
	table   string

	name     string // of the schema in PostgreSQL
	lock     int32  // first half of the advisory lock under which it changes
	withRole bool   // whether the files name the server's role; see role.go
}

// The schemas of a server's database, and of a witness's.
var (
	Postgres = Schema{dialect: goose.DialectPostgres, folder: "postgres",
		name: "stele", table: "stele.migrations", lock: 0x53544c4d, withRole: true} // "STLM"
	SQLite = Schema{dialect: goose.DialectSQLite3, folder: "sqlite", table: "migrations"}

	WitnessPostgres = Schema{dialect: goose.DialectPostgres, folder: "witness/postgres",
		name: "stele_witness", table: "stele_witness.migrations", lock: 0x53544c57} // "STLW"
	WitnessSQLite = Schema{dialect: goose.DialectSQLite3, folder: "witness/sqlite", table: "migrations"}
)

// Files returns the SQL files.
func (s Schema) Files() fs.FS {
	sub, err := fs.Sub(files, s.folder)
	if err != nil {
		panic(err) // only a path that is not one is refused
	}
	return sub
}

// Newest returns the number of the last file: the version of the schema that this
// program was made for.
func (s Schema) Newest() (int64, error) {
	entries, err := fs.ReadDir(s.Files(), ".")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var newest int64
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s: the name must begin with its number", e.Name())
		}
		newest = max(newest, n)
	}
	return newest, nil
}

// Check fails, with what to do, unless a database's version is the newest. A
// database without a schema has version 0.
func (s Schema) Check(have int64) error {
	newest, err := s.Newest()
	switch {
	case err != nil:
		return err
	case have == 0:
		return errors.New("it has no schema yet: run stele migrate")
	case have < newest:
		return fmt.Errorf("its schema has version %d, this program needs %d: run stele migrate", have, newest)
	case have > newest:
		return fmt.Errorf("its schema has version %d, this program knows up to %d: run a newer stele", have, newest)
	}
	return nil
}

// Up applies the files that are missing, and returns the version before, 0 if there
// was none, and after.
//
// Of several that open a new SQLite file at once, one may be refused because another is at
// it, without having waited: it is tried again for a while.
func (s Schema) Up(ctx context.Context, db *sql.DB) (from, to int64, err error) {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		from, to, err = s.up(ctx, db, s.Files())
		if !isBusy(err) || wait > 5*time.Second {
			return from, to, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return from, to, err
		}
	}
}

// isBusy reports whether SQLite has refused something because another connection writes
// (SQLITE_BUSY, 5, in the low byte of the code).
func isBusy(err error) bool {
	var coded interface{ Code() int }
	return errors.As(err, &coded) && coded.Code()&0xff == 5
}

func (s Schema) up(ctx context.Context, db *sql.DB, files fs.FS) (from, to int64, err error) {
	provider, err := goose.NewProvider(s.dialect, db, files,
		goose.WithTableName(s.table), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, 0, err
	}
	if from, to, err = provider.GetVersions(ctx); err != nil {
		return 0, 0, err
	}
	if from > to {
		return from, from, s.Check(from)
	}
	if _, err := provider.Up(ctx); err != nil {
		// Of two processes that open a new SQLite file at once, one is too late.
		if have, errVersion := provider.GetDBVersion(ctx); errVersion != nil || have != to {
			return from, from, err
		}
	}
	return from, to, nil
}
