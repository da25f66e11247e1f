package sqlite_test

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/sqlite"
	"github.com/stele-log/stele/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) func(*testing.T) storage.Store {
		path := newDatabase(t)
		return func(t *testing.T) storage.Store { return open(t, path) }
	})
}

// newDatabase returns the path of an empty database with its schema.
func newDatabase(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stele #1?.db") // a name that a URL must escape
	if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// stranger connects to the file with SQLite's defaults.
func stranger(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t testing.TB, path, statement string) {
	t.Helper()
	if _, err := stranger(t, path).ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCommit(b *testing.B) {
	l, err := open(b, newDatabase(b)).CreateLog(b.Context(), "default", "log.example")
	if err != nil {
		b.Fatal(err)
	}
	storagetest.BenchmarkCommit(b, l)
}
