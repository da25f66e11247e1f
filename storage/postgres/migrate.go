package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/stele-log/stele/migrations"
)

// Migrate brings the schema of the database at url up to date, and returns its
// version before (0 if it had none) and after. It may run in many processes at
// once. The user must own the database or, if the schema is there already, its
// tables; the first time it must also be able to create the role stele_server,
// or to take it on.
func Migrate(ctx context.Context, url string) (from, to int64, err error) {
	from, to, err = migrate(ctx, url)
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Hint != "" {
			err = fmt.Errorf("%w. %s", err, pg.Hint)
		}
		return from, to, fmt.Errorf("migrate database: %w", err)
	}
	return from, to, nil
}

func migrate(ctx context.Context, url string) (from, to int64, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, 0, err
	}
	config.RuntimeParams["search_path"] = ""
	// The lock is held by a connection of its own, so that goose, which looks
	// before it locks, does both under it. It is free when the connection ends.
	lock, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return 0, 0, err
	}
	defer closeConn(lock)
	if _, err := lock.Exec(ctx, sqlMigrationLock); err != nil {
		return 0, 0, fmt.Errorf("wait for other migrations: %w", err)
	}
	if _, err := lock.Exec(ctx, sqlCreateSchema); err != nil {
		return 0, 0, err
	}
	return up(ctx, config)
}

// up applies what is missing.
func up(ctx context.Context, config *pgx.ConnConfig) (from, to int64, err error) {
	db := stdlib.OpenDB(*config)
	defer db.Close()
	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return 0, 0, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName("stele.migrations"),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, 0, err
	}
	from, to, err = provider.GetVersions(ctx)
	if err != nil {
		return 0, 0, err
	}
	if from > to {
		return from, from, fmt.Errorf("its schema has version %d, this program knows up to %d: run a newer stele", from, to)
	}
	if _, err := provider.Up(ctx); err != nil {
		return from, from, err
	}
	return from, to, nil
}
