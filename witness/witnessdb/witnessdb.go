// Package witnessdb stores the state of a witness in SQLite (modernc.org/sqlite) or
// PostgreSQL (pgx), through database/sql. Both run the same statements
// (queries.go); the tables are in migrations/witness. One row a log holds the head
// and the note of the newest checkpoint that was signed.
//
// What always holds:
//   - [DB.Advance] is one statement, and durable when it returns (SQLite:
//     synchronous=FULL; PostgreSQL: synchronous_commit is on, whatever the
//     server's default);
//   - triggers refuse, to every user, to replace a signed head by a smaller one or
//     by another of its size, and to delete a log;
//   - no statement is retried: after an error with unknown outcome, the caller
//     must read the state again.
//
// Any number of processes may use a database at once, such as a server and the
// commands that add logs. A DB is safe for concurrent use.
package witnessdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
)

// ErrOwned means that the database belongs to another witness.
var ErrOwned = errors.New("the database belongs to another witness")

// A DB is an open database of one witness.
type DB struct {
	read, write *sql.DB // SQLite: write has one connection; PostgreSQL: the same pool
}

var _ witness.Store = (*DB)(nil)

// Close closes all connections.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		err = errors.Join(db.read.Close(), err)
	}
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Ping runs a statement that reads no table.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.read.QueryRowContext(ctx, sqlPing).Scan(&one); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Owner returns the verifier key of the witness that the database belongs to,
// or "" if it does not belong to one yet.
func (db *DB) Owner(ctx context.Context) (vkey string, err error) {
	err = db.read.QueryRowContext(ctx, sqlOwner).Scan(&vkey)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return vkey, err
}

// SetOwner gives the database to the witness with that verifier key. The error
// is ErrOwned if it belongs to another.
func (db *DB) SetOwner(ctx context.Context, vkey string) error {
	if _, err := db.write.ExecContext(ctx, sqlSetOwner, vkey); err != nil {
		return fmt.Errorf("set the database's owner: %w", err)
	}
	owner, err := db.Owner(ctx)
	if err == nil && owner != vkey {
		err = fmt.Errorf("%w, with the key %.80s", ErrOwned, owner)
	}
	return err
}

// Log reads a log and its keys with two statements. Keys added between them are
// returned, which does no harm: they are only ever added.
func (db *DB) Log(ctx context.Context, origin string) (witness.Log, error) {
	l, err := scanLog(db.read.QueryRowContext(ctx, sqlLog, origin))
	if errors.Is(err, sql.ErrNoRows) {
		err = witness.ErrUnknownLog
	}
	if err == nil {
		err = db.each(ctx, func(rows *sql.Rows) error {
			var vkey string
			err := rows.Scan(&vkey)
			l.VKeys = append(l.VKeys, vkey)
			return err
		}, sqlKeys, origin)
	}
	if err != nil {
		return witness.Log{}, fmt.Errorf("read log %q: %w", origin, err)
	}
	return l, nil
}

// Logs reads all logs and their keys, like [DB.Log] with two statements.
func (db *DB) Logs(ctx context.Context) ([]witness.Log, error) {
	var logs []witness.Log
	at := map[string]int{}
	err := db.each(ctx, func(rows *sql.Rows) error {
		l, err := scanLog(rows)
		at[l.Origin] = len(logs)
		logs = append(logs, l)
		return err
	}, sqlLogs)
	if err == nil {
		err = db.each(ctx, func(rows *sql.Rows) error {
			var origin, vkey string
			err := rows.Scan(&origin, &vkey)
			// The log of a key may have been added after the first statement.
			if i, ok := at[origin]; ok {
				logs[i].VKeys = append(logs[i].VKeys, vkey)
			}
			return err
		}, sqlAllKeys)
	}
	if err != nil {
		return nil, fmt.Errorf("read logs: %w", err)
	}
	return logs, nil
}

// each calls f for each row of a query.
func (db *DB) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := db.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scanLog reads a row of sqlLog or sqlLogs: all but the keys of a log.
func scanLog(row interface{ Scan(...any) error }) (l witness.Log, err error) {
	var root []byte
	var signedAt sql.NullInt64
	err = row.Scan(&l.Origin, &l.Size, &root, &signedAt, &l.Paused, &l.Listed, &l.QPD, &l.Day, &l.Used)
	if err != nil {
		return witness.Log{}, err
	}
	if len(root) != tree.HashSize {
		return witness.Log{}, fmt.Errorf("the root of %q has %d bytes", l.Origin, len(root))
	}
	l.Root = tree.Hash(root)
	if signedAt.Valid {
		l.SignedAt = time.UnixMicro(signedAt.Int64).UTC()
	}
	return l, nil
}

// Checkpoint returns the recorded note as it was signed; the error wraps
// witness.ErrUnknownLog if there is none.
func (db *DB) Checkpoint(ctx context.Context, originHash string) ([]byte, error) {
	var note []byte
	err := db.read.QueryRowContext(ctx, sqlNote, originHash).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		err = witness.ErrUnknownLog
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	return note, nil
}

// Advance compares the recorded head and replaces it in one statement, which also
// counts the day's quota. No row is changed if the head is another one or the log
// is paused: the error wraps witness.ErrStale.
func (db *DB) Advance(ctx context.Context, origin string, from tree.Head, to witness.Signed) error {
	res, err := db.write.ExecContext(ctx, sqlAdvance,
		to.Size, to.Root[:], to.Note, to.Time.UnixMicro(), witness.Day(to.Time),
		origin, from.Size, from.Root[:])
	var rows int64
	if err == nil {
		rows, err = res.RowsAffected()
	}
	if err == nil && rows != 1 {
		err = witness.ErrStale
	}
	if err != nil {
		return fmt.Errorf("record checkpoint of %q: %w", origin, err)
	}
	return nil
}

// AddListed adds a log with its one key and its quota in one transaction.
func (db *DB) AddListed(ctx context.Context, l witness.ListedLog) (added bool, err error) {
	err = db.change(ctx, func(tx *sql.Tx) error {
		added, err = addLog(ctx, tx, l.Origin, true, l.QPD)
		if added && err == nil {
			_, err = tx.ExecContext(ctx, sqlAddKey, l.Origin, l.VKey)
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("add log %q: %w", l.Origin, err)
	}
	return added, nil
}

// AddKeys adds keys to a log, which it adds without a quota if the witness does
// not follow it yet. It returns the number of keys that are new. The caller must
// have verified that the keys are valid and are the log's.
func (db *DB) AddKeys(ctx context.Context, origin string, vkeys ...string) (added int, err error) {
	err = db.change(ctx, func(tx *sql.Tx) error {
		if _, err := addLog(ctx, tx, origin, false, 0); err != nil {
			return err
		}
		for _, vkey := range vkeys {
			res, err := tx.ExecContext(ctx, sqlAddKey, origin, vkey)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			added += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("add keys of log %q: %w", origin, err)
	}
	return added, nil
}

// addLog adds a log with an empty tree, unless there is one of that origin.
func addLog(ctx context.Context, tx *sql.Tx, origin string, listed bool, qpd uint64) (added bool, err error) {
	var there bool
	if err := tx.QueryRowContext(ctx, sqlHasLog, origin).Scan(&there); there || err != nil {
		return false, err
	}
	res, err := tx.ExecContext(ctx, sqlAddLog, origin, witness.OriginHash(origin), tree.EmptyRoot[:], listed, qpd)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// SetPaused pauses a log, for which nothing is signed from then on, or resumes it.
// The error wraps witness.ErrUnknownLog if there is no log of that origin.
func (db *DB) SetPaused(ctx context.Context, origin string, paused bool) error {
	res, err := db.write.ExecContext(ctx, sqlSetPaused, paused, origin)
	var rows int64
	if err == nil {
		rows, err = res.RowsAffected()
	}
	if err == nil && rows == 0 {
		err = witness.ErrUnknownLog
	}
	if err != nil {
		return fmt.Errorf("pause or resume log %q: %w", origin, err)
	}
	return nil
}

// change runs f in a transaction, and commits it unless f returns an error.
func (db *DB) change(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
