package witnessdb

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver

	"github.com/stele-log/stele/migrations"
	migrated "github.com/stele-log/stele/migrations/witness"
)

const (
	sqliteReaders       = 4
	postgresConnections = 16
)

// OpenSQLite opens the file at path, which it makes, for its owner alone, if
// there is none, and brings its schema up to date.
func OpenSQLite(ctx context.Context, path string) (*DB, error) {
	db, err := openSQLite(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}

func openSQLite(ctx context.Context, path string) (*DB, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	write, err := connectSQLite(path, 1)
	if err != nil {
		return nil, err
	}
	if err := up(ctx, write, goose.DialectSQLite3, migrated.SQLite, "sqlite", "migrations"); err != nil {
		write.Close()
		return nil, err
	}
	read, err := connectSQLite(path, sqliteReaders)
	if err != nil {
		write.Close()
		return nil, err
	}
	return &DB{read, write}, nil
}

// connectSQLite returns a pool of n connections. The parameters are those of
// modernc.org/sqlite.
func connectSQLite(path string, n int) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=rw&_txlock=immediate" +
		"&_busy_timeout=10000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1&_defensive=1&_dqs=0"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// OpenPostgres connects to the database at url, a connection string as libpq and
// pgx know it, and brings the schema stele_witness in it up to date.
func OpenPostgres(ctx context.Context, url string) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	config.RuntimeParams["search_path"] = "stele_witness"
	config.RuntimeParams["synchronous_commit"] = "on"
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	if err := migratePostgres(ctx, config); err != nil {
		return nil, fmt.Errorf("open database %s: %w", config.Database, err)
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections)
	db.SetConnMaxIdleTime(time.Minute)
	return &DB{db, db}, nil
}

func migratePostgres(ctx context.Context, config *pgx.ConnConfig) error {
	// The lock is held by a connection of its own, and free when that ends.
	lock, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer lock.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{sqlMigrationLock, sqlCreateSchema} {
		if _, err := lock.Exec(ctx, statement); err != nil {
			return err
		}
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	return up(ctx, db, goose.DialectPostgres, migrated.Postgres, "postgres", "stele_witness.migrations")
}

// up brings the schema up to date. It fails if a newer program has done so.
func up(ctx context.Context, db *sql.DB, dialect goose.Dialect, files fs.FS, folder, table string) error {
	newest, err := migrations.Newest(files, folder)
	if err != nil {
		return err
	}
	files, err = fs.Sub(files, folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, db, files,
		goose.WithTableName(table), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		// Of two processes that open a new file at once, one is too late.
		if have, errVersion := provider.GetDBVersion(ctx); errVersion != nil || have != newest {
			return err
		}
	}
	have, err := provider.GetDBVersion(ctx)
	if err == nil && have > newest {
		err = fmt.Errorf("its schema has version %d, this program knows up to %d: run a newer stele", have, newest)
	}
	return err
}
