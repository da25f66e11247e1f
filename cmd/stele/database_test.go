package main_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/stele-log/stele/internal/test/pgtest"
)

// A database is where a server keeps logs, and a way to get at it behind its
// back.
type database struct {
	flags []string // of serve
	dir   string   // the data folder
	url   string   // of PostgreSQL; empty for SQLite
}

func newDatabase(t *testing.T, kind string) database {
	t.Helper()
	d := database{dir: filepath.Join(t.TempDir(), "data")}
	d.flags = []string{"--data", d.dir}
	if kind == "postgres" {
		d.url = pgtest.Empty(t)
		d.flags = append(d.flags, "--database", d.url)
	}
	return d
}

// tamper changes one column of the one row of a table that the condition is true
// of, as somebody who owns the database can.
func (d database) tamper(t *testing.T, table, column, condition string, change func([]byte) []byte) {
	t.Helper()
	db := d.open(t)
	defer db.Close()
	name := table
	if d.url != "" {
		name = "stele." + table
	}
	var old []byte
	if err := db.QueryRow(fmt.Sprintf("SELECT %s FROM %s WHERE %s", column, name, condition)).Scan(&old); err != nil {
		t.Fatal(err)
	}
	value := change(old)
	statement := fmt.Sprintf("UPDATE %s SET %s = $1 WHERE %s", name, column, condition)
	if _, err := db.Exec(statement, value); err == nil || !strings.Contains(err.Error(), "insert-only") {
		t.Fatalf("%s: got %v, want it refused at first", statement, err)
	}
	d.dropTriggers(t, db, table)
	if res, err := db.Exec(statement, value); err != nil {
		t.Fatal(err)
	} else if n, err := res.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}

func (d database) open(t *testing.T) *sql.DB {
	t.Helper()
	driver, source := "sqlite", filepath.Join(d.dir, "stele.db")
	if d.url != "" {
		driver, source = "pgx", d.url
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// dropTriggers takes the guards off a table, and its references.
func (d database) dropTriggers(t *testing.T, db *sql.DB, table string) {
	t.Helper()
	if d.url != "" {
		if _, err := db.Exec("ALTER TABLE stele." + table + " DISABLE TRIGGER ALL"); err != nil {
			t.Fatal(err)
		}
		return
	}
	rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = $1", table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	for _, name := range names {
		if _, err := db.Exec("DROP TRIGGER " + name); err != nil {
			t.Fatal(err)
		}
	}
}

// copy returns a copy of the data folder and the database, which no server may be using,
// as if both had been moved.
func (d database) copy(t *testing.T) database {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600) // some are keys
	})
	if err != nil {
		t.Fatal(err)
	}
	// It knows where it was served; see docs/operations.md.
	if err := os.Remove(filepath.Join(dir, "place.json")); err != nil {
		t.Fatal(err)
	}
	d.dir, d.flags = dir, []string{"--data", dir}
	if d.url != "" {
		d.url = pgtest.Copy(t, d.url)
		d.flags = append(d.flags, "--database", d.url)
	}
	return d
}

// rewrite runs a statement, in which {heads} stands for the table heads, {log} for the
// number of the log default, and {zeros} for 32 bytes.
func (d database) rewrite(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	schema, zeros := "", "zeroblob(32)"
	if d.url != "" {
		schema, zeros = "stele.", "decode(repeat('00', 32), 'hex')"
	}
	statement = strings.ReplaceAll(statement, "{log}", "(SELECT log_id FROM {logs} WHERE name = 'default')")
	statement = strings.ReplaceAll(statement, "{zeros}", zeros)
	for _, table := range []string{"checkpoints", "heads", "chunks", "tiles", "logs"} {
		statement = strings.ReplaceAll(statement, "{"+table+"}", schema+table)
	}
	if res, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	} else if n, err := res.RowsAffected(); n == 0 || err != nil {
		t.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}
