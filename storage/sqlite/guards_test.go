package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/sqlite"
	"github.com/stele-log/stele/storage/storagetest"
)

// openBeside returns a store with a log of 300 entries, and the same file as whoever may
// write to it opens it.
func openBeside(t *testing.T) (store *sqlite.Store, l storage.Log, db *sql.DB) {
	t.Helper()
	var err error
	path := filepath.Join(t.TempDir(), "stele.db")
	if _, _, err = sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	store, err = sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	l, err = store.CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300)
	db, err = sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return store, l, db
}

// TestGuardsTakenOffAreNoticed takes guards off, as whoever may write to the file can.
func TestGuardsTakenOffAreNoticed(t *testing.T) {
	t.Parallel()
	store, _, db := openBeside(t)
	for _, test := range []struct{ statement, want string }{
		{"ANALYZE", ""},
		{"INSERT INTO chunks VALUES (1, 300, 1, x'00')", "log default has a chunk at entry 300 beyond its head of 300 entries"},
		{"DELETE FROM chunks WHERE start = 300", ""},
		{"CREATE TRIGGER evil BEFORE INSERT ON chunks BEGIN SELECT 1; END", "trigger evil of chunks is not one of Stele's"},
		{"DROP TRIGGER evil", ""},
		{"DROP TRIGGER heads_update", "trigger heads_update of heads is missing"},
		{"CREATE TRIGGER heads_update BEFORE UPDATE ON heads BEGIN SELECT 1; END", "trigger heads_update of heads was changed"},
		{"ALTER TABLE epochs ADD COLUMN more TEXT", "table epochs was changed"},
	} {
		if _, err := db.Exec(test.statement); err != nil {
			t.Fatalf("%s: %v", test.statement, err)
		}
		guards, err := store.Guards(t.Context())
		if got := strings.Join(guards.Missing, "\n"); err != nil || !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: %q, error %v; want %q", test.statement, got, err, test.want)
		}
	}
}
