package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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

// migrate empties the search path, as every session of the driver does: a migration
// that forgets to name its schema fails instead of writing to another one.
func migrate(ctx context.Context, url string) (from, to int64, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, 0, err
	}
	config.RuntimeParams["search_path"] = ""
	return migrations.Postgres.UpPostgres(ctx, config)
}
