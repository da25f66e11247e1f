package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-log/stele/storage/sqlite"
	"github.com/stele-log/stele/storage/storagetest"
)

// A closed database is one file: who copies that has all of it.
func TestCloseLeavesNoWriteAheadLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.CreateLog(t.Context(), "test", "example.com/test")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300, 5)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the write-ahead log is still there: %v", err)
	}
}
