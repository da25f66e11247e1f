package sqlite_test

import (
	"testing"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestBeyondTheHead inserts what no commit makes, as whoever opens the file can: it is
// refused, or it is not read, and is gone once an epoch begins.
func TestBeyondTheHead(t *testing.T) {
	t.Parallel()
	_, l, db := openBeside(t)
	for _, statement := range []string{
		"INSERT INTO tiles VALUES (1, 0, 1, zeroblob(32), zeroblob(8192))",
		"INSERT INTO tiles VALUES (1, 7, 0, zeroblob(32), zeroblob(8192))",
		"INSERT INTO epochs VALUES (1, 9223372036854775807, 'x', 0)",
		"DELETE FROM chunks WHERE start = 256",
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("%s: done", statement)
		}
	}
	if _, err := db.Exec("INSERT INTO chunks VALUES (1, 300, 10, x'00')"); err != nil {
		t.Fatal(err)
	}
	storagetest.Check(t, l)
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	f, err := tree.ReadFrontier(t.Context(), storage.NewReader(l, storage.NewCache(0)), 300)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), f, storagetest.Entries(300, 300))); err != nil {
		t.Error(err)
	}
	storagetest.Check(t, l)
}
