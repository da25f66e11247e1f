// Package peer holds what Stele is measured against: tables in PostgreSQL as
// people write them by hand, Tessera, Trillian, and an HTTP handler that does
// nothing.
package peer

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/bench/events"
)

// The table is not vacuumed in the background, so that it is in nobody else's
// turn.
const tableSchema = `
CREATE TABLE audit_events (
  id       bigserial PRIMARY KEY,
  event_id uuid NOT NULL,
  ts       timestamptz NOT NULL,
  actor    text NOT NULL,
  action   text NOT NULL,
  target   text NOT NULL,
  payload  jsonb NOT NULL
) WITH (autovacuum_enabled = off);
CREATE INDEX audit_events_ts ON audit_events (ts);
CREATE INDEX audit_events_actor ON audit_events (actor);
CREATE INDEX audit_events_action ON audit_events (action);`

// chainSchema makes a table whose rows each hold the hash of the row before. The
// lock makes writers form one line; the id is taken under it, so that the order
// of ids is that of the chain.
const chainSchema = tableSchema + `
CREATE EXTENSION pgcrypto;
ALTER TABLE audit_events ADD hash bytea NOT NULL;
CREATE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1);
  NEW.id = nextval('audit_events_id_seq');
  NEW.hash = digest(
    coalesce((SELECT hash FROM audit_events ORDER BY id DESC LIMIT 1), '') ||
    convert_to(concat_ws('|', NEW.id, NEW.event_id, NEW.ts, NEW.actor, NEW.action, NEW.target, NEW.payload), 'UTF8'),
    'sha256');
  RETURN NEW;
END
$$;
CREATE TRIGGER chain BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION chain();`

var tableColumns = []string{"event_id", "ts", "actor", "action", "target", "payload"}

// A Table is an audit table that somebody has written by hand.
type Table struct {
	pool *pgxpool.Pool
	many string // inserts ManyRows rows
}

// ManyRows is the number of rows that InsertMany inserts.
const ManyRows = 1000

// OpenTable makes an audit table in an empty database, with a primary key and
// three btree indexes, and if it is to be chained with a hash chain in a
// trigger. Up to connections goroutines can write to it at once.
func OpenTable(ctx context.Context, url string, connections int, chained bool) (*Table, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	schema := tableSchema
	if chained {
		schema = chainSchema
	}
	if _, err := pool.Exec(ctx, schema); err != nil {
		pool.Close()
		return nil, fmt.Errorf("make the audit table: %w", err)
	}
	return &Table{pool, insertStatement(ManyRows)}, nil
}

// Close closes the connections.
func (t *Table) Close() { t.pool.Close() }

// Copy inserts rows with CopyFrom, in one transaction.
func (t *Table) Copy(ctx context.Context, rows []events.Row) error {
	_, err := t.pool.CopyFrom(ctx, pgx.Identifier{"audit_events"}, tableColumns,
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return values(nil, rows[i]), nil }))
	return err
}

// InsertMany inserts ManyRows rows with one statement.
func (t *Table) InsertMany(ctx context.Context, rows []events.Row) error {
	args := make([]any, 0, len(rows)*len(tableColumns))
	for _, r := range rows {
		args = values(args, r)
	}
	_, err := t.pool.Exec(ctx, t.many, args...)
	return err
}

// Insert inserts one row.
func (t *Table) Insert(ctx context.Context, row events.Row) error {
	_, err := t.pool.Exec(ctx, insertOne, values(nil, row)...)
	return err
}

var insertOne = insertStatement(1)

func insertStatement(rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO audit_events (" + strings.Join(tableColumns, ", ") + ") VALUES ")
	for i := range rows * len(tableColumns) {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%len(tableColumns) == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	b.WriteString(")")
	return b.String()
}

// values appends the columns of a row.
func values(dst []any, r events.Row) []any {
	return append(dst, r.ID, r.Time, r.Actor, r.Action, r.Target, r.Payload)
}
