package postgres_test

import (
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage/storagetest"
)

func BenchmarkCommit(b *testing.B) {
	l, err := open(b, pgtest.URL(b)).CreateLog(b.Context(), "default", "log.example")
	if err != nil {
		b.Fatal(err)
	}
	storagetest.BenchmarkCommit(b, l)
}

// BenchmarkInsert is what a commit is to be measured by: one row, inserted into
// an ordinary table with an index and committed.
func BenchmarkInsert(b *testing.B) {
	conn := pgtest.Connect(b, pgtest.URL(b))
	if _, err := conn.Exec(b.Context(), "CREATE TABLE plain (n bigint PRIMARY KEY, data bytea NOT NULL)"); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 300)
	n := 0
	for b.Loop() {
		if _, err := conn.Exec(b.Context(), "INSERT INTO plain VALUES ($1, $2)", n, data); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
