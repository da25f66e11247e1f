// Package dbtest runs tests on both databases.
package dbtest

import (
	"path/filepath"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/sqlite"
)

// Each runs a test on a new SQLite database and on a new PostgreSQL database,
// in parallel. Each call of open opens the same one, to be closed at the end of
// the test at the latest.
func Each(t *testing.T, test func(t *testing.T, open func() storage.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Postgres(t))
	})
}

// SQLite makes a new SQLite database and returns what opens it.
func SQLite(t testing.TB) (open func() storage.Store) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stele.db")
	if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return func() storage.Store {
		t.Helper()
		s, err := sqlite.Open(t.Context(), path)
		return closing(t, s, err)
	}
}

// Postgres makes a new PostgreSQL database and returns what opens it.
func Postgres(t testing.TB) (open func() storage.Store) {
	t.Helper()
	url := pgtest.URL(t)
	return func() storage.Store {
		t.Helper()
		s, err := postgres.Open(t.Context(), url)
		return closing(t, s, err)
	}
}

func closing(t testing.TB, s storage.Store, err error) storage.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
