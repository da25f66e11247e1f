package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// derived are the tables that may change; all others are core.
var derived = []string{"key_runs", "key_pages", "cursors"}

// TestCoreIsInsertOnly opens the file as a stranger does, with SQLite's
// defaults: no foreign keys, no recursive triggers.
func TestCoreIsInsertOnly(t *testing.T) {
	t.Parallel()
	db := filled(t)
	for _, table := range tables(t, db) {
		if slices.Contains(derived, table.name) {
			continue
		}
		before := dump(t, db, table.name)
		for _, statement := range []string{
			fmt.Sprintf("UPDATE %s SET %s = %[2]s", table.name, table.column),
			fmt.Sprintf("UPDATE OR REPLACE %s SET %s = %[2]s", table.name, table.column),
			fmt.Sprintf("UPDATE OR IGNORE %s SET %s = %[2]s", table.name, table.column),
			"DELETE FROM " + table.name,
			fmt.Sprintf("INSERT OR REPLACE INTO %s SELECT * FROM %[1]s", table.name),
			fmt.Sprintf("REPLACE INTO %s SELECT * FROM %[1]s", table.name),
			fmt.Sprintf("INSERT INTO %s SELECT * FROM %[1]s WHERE true ON CONFLICT DO UPDATE SET %s = %[2]s", table.name, table.column),
		} {
			_, err := db.ExecContext(t.Context(), statement)
			if err == nil || !strings.Contains(err.Error(), "constraint") {
				t.Errorf("%s: error %v, want that of a trigger", statement, err)
			}
		}
		if after := dump(t, db, table.name); after != before {
			t.Errorf("%s has changed", table.name)
		}
	}
}

// TestReplaceCannotTakeAnotherPlace replaces rows by each of their keys.
func TestReplaceCannotTakeAnotherPlace(t *testing.T) {
	t.Parallel()
	db := filled(t)
	for _, statement := range []string{
		"INSERT OR REPLACE INTO logs (log_id, name, origin, created_at) VALUES (1, 'other', 'other', 0)",
		"INSERT OR REPLACE INTO logs (name, origin, created_at) VALUES ('default', 'other', 0)",
		"INSERT OR REPLACE INTO logs (name, origin, created_at) VALUES ('other', 'log.example', 0)",
		"INSERT OR REPLACE INTO heads SELECT log_id, 301, base, root, epoch, 0 FROM heads WHERE size = 300",
		"INSERT OR REPLACE INTO heads SELECT log_id, 300, 300, root, epoch, 0 FROM heads WHERE size = 300",
		"INSERT OR REPLACE INTO chunks VALUES (1, 0, 1, x'00')",
		"INSERT OR REPLACE INTO chunks VALUES (1, 100, 1, x'00')",
		"INSERT OR REPLACE INTO epochs VALUES (1, 1, 'other', 0)",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s: no error", statement)
		}
	}
}

type table struct{ name, column string }

// tables returns all tables of the file, each with a column.
func tables(t *testing.T, db *sql.DB) []table {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.cid = 1
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []table
	for rows.Next() {
		var one table
		if err := rows.Scan(&one.name, &one.column); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil || len(all) < 10 {
		t.Fatalf("the file has tables %v only, error %v", all, err)
	}
	return all
}

// dump returns all of a table, as text.
func dump(t *testing.T, db *sql.DB, table string) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	var b strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			fmt.Fprintf(&b, "%v|", *v.(*any))
		}
	}
	if err := rows.Err(); err != nil || b.Len() == 0 {
		t.Fatalf("%s has no rows, error %v: fill it", table, err)
	}
	return b.String()
}

// filled returns a connection to a file with rows in every table.
func filled(t *testing.T) *sql.DB {
	t.Helper()
	path := newDatabase(t)
	l, err := open(t, path).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300)
	_, err = l.Runs().Secret(t.Context(), "event", storage.Secret{1})
	err = errors.Join(err,
		l.AddCheckpoint(t.Context(), storage.Checkpoint{Size: 300, Note: []byte("note"), Published: time.Now()}),
		l.Runs().Replace(t.Context(), storage.Run{Kind: "event", End: 300, Filter: []byte("filter")},
			slices.Values([]storage.Page{{First: 1, Data: []byte("page")}}),
			&storage.Move{Follower: "made-up", To: storage.Position{Version: 1, Next: 300}}))
	if err != nil {
		t.Fatal(err)
	}
	return stranger(t, path)
}
