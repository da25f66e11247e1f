package postgres_test

import (
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) func(*testing.T) storage.Store {
		url := pgtest.URL(t)
		return func(t *testing.T) storage.Store { return open(t, url) }
	})
}

func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// create creates a log in a store on the database at url.
func create(t *testing.T, url string) storage.Log {
	t.Helper()
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lead takes a log's lease to the end of the test.
func lead(t *testing.T, l storage.Log) storage.Lease {
	t.Helper()
	lease, err := l.Lead(t.Context(), holder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	return lease
}
