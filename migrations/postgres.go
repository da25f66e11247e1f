package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// UpPostgres creates the schema in the database that config leads to, if it is
// missing, and brings it up to date as [Schema.Up] does. Processes take turns: a
// connection of its own holds a lock, so that goose, which looks before it locks,
// does both under it.
func (s Schema) UpPostgres(ctx context.Context, config *pgx.ConnConfig) (from, to int64, err error) {
	lock, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return 0, 0, err
	}
	defer lock.Close(context.WithoutCancel(ctx)) // frees the lock
	if _, err := lock.Exec(ctx, sqlLock, s.lock); err != nil {
		return 0, 0, fmt.Errorf("wait for other migrations: %w", err)
	}
	if _, err := lock.Exec(ctx, fmt.Sprintf(sqlCreateSchema, s.name)); err != nil {
		return 0, 0, err
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	return s.Up(ctx, db)
}

const sqlLock = `SELECT pg_advisory_lock($1, 0)`

// sqlCreateSchema looks before it creates: IF NOT EXISTS asks for the right to
// create the schema each time.
const sqlCreateSchema = `
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '%[1]s') THEN
    CREATE SCHEMA %[1]s;
  END IF;
END
$$`
