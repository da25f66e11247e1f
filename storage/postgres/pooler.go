package postgres

// This file is poolers, such as PgBouncer. One that pools transactions lends a session of
// the database to a client for one transaction at a time. What the client sets in a
// session it then sets for others, and others for it, and what it has prepared there is
// somewhere else. So behind a pooler nothing is set or prepared: the user has the rights
// of the server's role itself, and statements are planned each time.
//
// What must hold of a transaction is in the statements themselves (sqlDurable) or
// insisted on by the schema (stele.check_isolation), with or without a pooler.

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pooled reports whether a pooler stands between. PostgreSQL tells a client the number of
// the process that serves it. A pooler, by which many processes do, makes one up.
func pooled(ctx context.Context, config *pgx.ConnConfig) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return false, meaning(ctx, ctx, err, isNetwork(err))
	}
	defer conn.Close(ctx)
	var process uint32
	err = conn.QueryRow(ctx, sqlProcess, pgx.QueryExecModeSimpleProtocol).Scan(&process)
	return process != conn.PgConn().PID(), meaning(ctx, ctx, err, conn.IsClosed())
}

// setUpPooled configures connections through a pooler.
func setUpPooled(config *pgxpool.Config) {
	config.AfterConnect = nil
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
}

// checkPooled fails, with what to do, where the server needs something of a session that
// it cannot set behind a pooler. err is that of reading the schema's version.
func (s *Store) checkPooled(ctx context.Context, err error) error {
	var role, user, isolation string
	var may bool
	if err == nil {
		err = s.queryRow(ctx, sqlPooled, nil, &may, &isolation)
	}
	if err != nil && code(err) != codeDenied {
		return err
	}
	if err := s.queryRow(ctx, sqlRole, nil, &role, &user); err != nil {
		return err
	}
	switch {
	case err != nil || !may:
		return fmt.Errorf("there is a pooler between, and user %s has not the rights of %s itself: "+
			"as a role that may create roles, run: GRANT %[2]s TO %[1]s; ALTER ROLE %[1]s INHERIT", user, role)
	case isolation != readCommitted:
		return fmt.Errorf("there is a pooler between, and default_transaction_isolation is %q: "+
			"run: ALTER ROLE %s SET default_transaction_isolation TO '%s'", isolation, user, readCommitted)
	}
	return nil
}

const readCommitted = "read committed"
