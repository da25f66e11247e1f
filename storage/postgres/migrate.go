package postgres

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/migrations"
)

// Migrate brings the schema of the database at url up to date, and returns its
// version before (0 if it had none) and after. It may run in many processes at
// once. The user must own the schema or, if there is none, be allowed to create it;
// the first time it must also be able to create the role stele_server, or to take it
// on. If there is nothing to do, any user who may read the schema will do.
func Migrate(ctx context.Context, url string) (from, to int64, err error) {
	if from, to, err = migrations.Postgres.UpPostgres(ctx, url); err != nil {
		return from, to, fmt.Errorf("migrate database: %w", err)
	}
	return from, to, nil
}
