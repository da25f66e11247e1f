package witnessdb

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stele-log/stele/internal/sqlitefile"
	"github.com/stele-log/stele/migrations"
)

const (
	// immediate has a transaction acquire the write lock when it begins, so that it
	// cannot fail half way for want of it.
	immediate = "_txlock=immediate"

	sqliteReaders       = 4 // beside the one connection that writes
	postgresConnections = 16
)

// OpenSQLite opens the database in a file, and brings its schema up to date. If
// there is no file it makes one, which only its owner can read.
func OpenSQLite(ctx context.Context, path string) (*DB, error) {
	db, err := openSQLite(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}

// openSQLite migrates over the one connection that writes before it opens those
// that read.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	if err := sqlitefile.Create(path); err != nil {
		return nil, err
	}
	write, err := sqlitefile.Open(path, immediate, 1)
	if err != nil {
		return nil, err
	}
	if _, _, err := migrations.WitnessSQLite.Up(ctx, write); err != nil {
		write.Close()
		return nil, err
	}
	read, err := sqlitefile.Open(path, immediate, sqliteReaders)
	if err != nil {
		write.Close()
		return nil, err
	}
	return &DB{read, write}, nil
}

// OpenPostgres connects to the database at url, a connection string of libpq and pgx,
// and brings its schema stele_witness up to date. Several processes may do so at once.
func OpenPostgres(ctx context.Context, url string) (*DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, _, err := migrations.WitnessPostgres.UpPostgres(ctx, url, ""); err != nil {
		return nil, fmt.Errorf("open database %s: %w", config.ConnConfig.Database, err)
	}
	if err := ownSessions(ctx, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("open database %s: %w", config.ConnConfig.Database, err)
	}
	db := stdlib.OpenDB(*config.ConnConfig, stdlib.OptionAfterConnect(startSession))
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections)
	db.SetConnMaxIdleTime(time.Minute)
	return &DB{db, db}, nil
}

// ownSessions fails where startSession would configure other clients' sessions.
func ownSessions(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return migrations.CheckSession(ctx, conn)
}

// startSession configures a new connection. It does so by statements: poolers refuse
// parameters at a connection's start.
func startSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, sqlPostgresSession)
	return err
}

const sqlPostgresSession = `
SET search_path TO stele_witness;
SET synchronous_commit TO on;
SET default_transaction_isolation TO 'read committed'`
