package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/sqlite"
)

// storeFlags say where a server keeps what it keeps.
type storeFlags struct {
	data     string
	database string
}

func (f *storeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "./stele-data", "folder for keys and, without --database, for the log itself")
	cmd.Flags().StringVar(&f.database, "database", "", "PostgreSQL to keep logs in, such as postgres://user@host/db (default: SQLite in the data folder)")
}

// makeDataDir makes the data folder, which only its owner may read.
func (f *storeFlags) makeDataDir() error {
	if err := durable.MkdirAll(durable.System, f.data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	return nil
}

func (f *storeFlags) isPostgres() bool { return f.database != "" }

func (f *storeFlags) check() error {
	if f.isPostgres() && !strings.HasPrefix(f.database, "postgres://") && !strings.HasPrefix(f.database, "postgresql://") {
		return fmt.Errorf("--database is not a postgres:// URL; without it, logs are kept in SQLite in --data")
	}
	return nil
}

func (f *storeFlags) sqlitePath() string { return filepath.Join(f.data, "stele.db") }

// migrate brings the database's schema up to date.
func (f *storeFlags) migrate(ctx context.Context) (from, to int64, err error) {
	if f.isPostgres() {
		return postgres.Migrate(ctx, f.database)
	}
	return sqlite.Migrate(ctx, f.sqlitePath())
}

func (f *storeFlags) open(ctx context.Context) (storage.Store, error) {
	if f.isPostgres() {
		return postgres.Open(ctx, f.database)
	}
	return sqlite.Open(ctx, f.sqlitePath())
}
