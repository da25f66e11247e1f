package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/migrations"
)

// Migrate brings the schema of the database at url up to date, and returns its
// version before (0 if it had none) and after. It may run in many processes at
// once. The user must own the schema or, if there is none, be allowed to create it, and
// must be able to create the server's role or to take it on. If there is nothing to do,
// any user who may read the schema will do.
//
// role is the role that servers work as in this database, by default
// [migrations.DefaultRole]. It is chosen when the schema is made; an error is returned
// if the schema has another.
func Migrate(ctx context.Context, url, role string) (from, to int64, err error) {
	if from, to, err = migrations.Postgres.UpPostgres(ctx, url, role); err != nil {
		return from, to, fmt.Errorf("migrate database: %w", err)
	}
	return from, to, nil
}

// Role returns the role that servers work as in the database at url, which has a
// schema. It is to be granted to the users that they connect as.
func Role(ctx context.Context, url string) (role string, err error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return "", fmt.Errorf("read the server's role: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return "", fmt.Errorf("read the server's role: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var user string
	if err := conn.QueryRow(ctx, sqlRole).Scan(&role, &user); err != nil {
		return "", fmt.Errorf("read the server's role: %w", err)
	}
	return role, nil
}
