package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// UpPostgres brings the schema in the database at url up to date as [Schema.Up] does.
// Where there is nothing to do, the user needs no right but to read the version.
// Otherwise rights are tried first, in one transaction, which also creates the schema
// and the server's role if they are missing: a user who lacks a right leaves nothing
// behind, and the error tells who can grant it, and how.
//
// role is the server's role in the database, for the schema that has one; empty, it is
// [DefaultRole]. It is chosen when the schema is made, and cannot be changed later.
//
// Processes take turns: a connection of its own holds a lock, so that goose, which
// looks before it locks, does both under it. That takes sessions of its own, see
// [CheckSession]; to find that there is nothing to do does not.
func (s Schema) UpPostgres(ctx context.Context, url, role string) (from, to int64, err error) {
	// The parameters of pools, which URLs for the drivers may have, mean nothing to
	// pgx.ParseConfig: it would pass them on to the database.
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return 0, 0, err
	}
	// Statements that are run once need not be prepared, which poolers might not bear.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	newest, err := s.Newest()
	if err != nil {
		return 0, 0, err
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // frees the lock
	if from, role, err = s.look(ctx, conn, role); err != nil {
		return 0, 0, err
	}
	if from >= newest {
		return from, from, s.Check(from)
	}
	if err := s.prepare(ctx, conn, role); err != nil {
		return from, from, withHint(err)
	}
	files := s.Files()
	if s.withRole {
		files = renamed{files, role}
	}
	db := stdlib.OpenDB(*config.ConnConfig, stdlib.OptionAfterConnect(startSession))
	defer db.Close()
	return s.up(ctx, db, files)
}

// look returns the version of the database's schema and the role that servers have, or
// are to have, there.
func (s Schema) look(ctx context.Context, conn *pgx.Conn, wanted string) (version int64, role string, err error) {
	if version, err = s.version(ctx, conn); err != nil || !s.withRole {
		return version, "", err
	}
	role, err = s.chooseRole(ctx, conn, version, wanted)
	return version, role, err
}

// withHint returns an error of the database with the hint that it came with.
func withHint(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Hint != "" {
		return fmt.Errorf("%w. %s", err, pg.Hint)
	}
	return err
}

// startSession configures a connection by statements, not by parameters at its start,
// which poolers refuse. The search path is empty, as in every session of the drivers:
// a migration that forgets to name its schema fails instead of writing to another one.
func startSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, sqlSession)
	return err
}

// version returns the version of the database's schema, 0 if there is none.
func (s Schema) version(ctx context.Context, conn *pgx.Conn) (version int64, err error) {
	err = conn.QueryRow(ctx, fmt.Sprintf(sqlVersion, s.table)).Scan(&version)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case codeNoSchema, codeNoTable:
			return 0, nil
		case codeDenied:
			return 0, s.explainDenied(ctx, conn, err)
		}
	}
	return version, err
}

// explainDenied adds to the error of a user who may not read the schema which role may.
func (s Schema) explainDenied(ctx context.Context, conn *pgx.Conn, denied error) error {
	var database, role string
	if err := conn.QueryRow(ctx, sqlRole, s.name).Scan(&database, &role); err != nil || role == "" {
		return denied
	}
	return fmt.Errorf("%w. As a role that may create roles, run: GRANT %s TO %s", denied, role,
		pgx.Identifier{conn.Config().User}.Sanitize())
}

// prepare waits for its turn, tries the rights that the files need, and creates what
// they expect. Another process may have come first: then goose finds less to do.
func (s Schema) prepare(ctx context.Context, conn *pgx.Conn, role string) error {
	if err := CheckSession(ctx, conn); err != nil {
		return err
	}
	if err := startSession(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, sqlLock, s.lock); err != nil {
		return fmt.Errorf("wait for other migrations: %w", err)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf(sqlCreateSchema, s.name)); err != nil || !s.withRole {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(sqlTakeRole, role))
		return err
	})
}

// SQLSTATE (PostgreSQL's manual, appendix A).
const (
	codeDenied   = "42501"
	codeNoSchema = "3F000"
	codeNoTable  = "42P01"
)

// sqlSession also keeps the database from ending the session that holds the lock, and
// a migration that takes its time.
const sqlSession = `
SET search_path TO '';
SET statement_timeout TO 0;
SET idle_session_timeout TO 0`

const sqlLock = `SELECT pg_advisory_lock($1, 0)`

const sqlVersion = `SELECT coalesce(max(version_id), 0) FROM %s`

// sqlCreateSchema creates the schema, or makes sure that it and all in it may be changed.
const sqlCreateSchema = `
DO $do$
DECLARE
  owner name;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '%[1]s') THEN
    IF NOT has_database_privilege(current_database(), 'CREATE') THEN
      RAISE EXCEPTION 'user "%%" may not create the schema %[1]s', current_user
        USING ERRCODE = 'insufficient_privilege',
        HINT = format('As the owner of the database, run: GRANT CREATE ON DATABASE %%I TO %%I', current_database(), current_user);
    END IF;
    CREATE SCHEMA %[1]s;
    RETURN;
  END IF;
  SELECT r.rolname INTO owner
  FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
  WHERE n.nspname = '%[1]s' AND NOT pg_has_role(r.oid, 'USAGE');
  IF FOUND THEN
    RAISE EXCEPTION 'user "%%" may not change the schema %[1]s, which belongs to "%%"', current_user, owner
      USING ERRCODE = 'insufficient_privilege', HINT = format('Migrate as user %%I', owner);
  END IF;
  SELECT r.rolname INTO owner
  FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
  WHERE c.relnamespace = '%[1]s'::regnamespace AND NOT pg_has_role(r.oid, 'USAGE') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'user "%%" may not change all tables of the schema %[1]s: some belong to "%%"', current_user, owner
      USING ERRCODE = 'insufficient_privilege',
      HINT = format('As a role that may create roles, run: GRANT %%I TO %%I', owner, current_user);
  END IF;
END
$do$`

// sqlTakeRole creates the role if it is missing, and makes the user a member who can
// take it on. Only its admin option lets the user grant it to the server's user.
const sqlTakeRole = `
DO $do$
DECLARE
  there CONSTANT boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s');
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s' AND (rolsuper OR rolname = current_user)) THEN
    RAISE EXCEPTION 'the server cannot work as the role %[1]s, which could change the schema'
      USING HINT = 'Choose another with --role';
  END IF;
  IF NOT there THEN
    CREATE ROLE %[1]s NOLOGIN;
  END IF;
  BEGIN
    SET LOCAL ROLE %[1]s;
    RESET ROLE;
  EXCEPTION WHEN insufficient_privilege THEN
    EXECUTE format('GRANT %[1]s TO %%I', current_user);
  END;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'user "%%" may neither create the role %[1]s nor take it on', current_user
    USING ERRCODE = 'insufficient_privilege',
    HINT = format('As a role that may create roles, run: %%sGRANT %[1]s TO %%I WITH ADMIN OPTION',
      CASE WHEN NOT there THEN 'CREATE ROLE %[1]s NOLOGIN; ' END, current_user);
END
$do$`
