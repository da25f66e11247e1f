package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/stele-log/stele/storage/storagetest"
)

// A closed database is one file: who copies that has all of it.
func TestCloseLeavesNoWriteAheadLog(t *testing.T) {
	t.Parallel()
	path := newDatabase(t)
	s := open(t, path)
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
