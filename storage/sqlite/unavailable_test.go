package sqlite_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stele-log/stele/storage"
)

// TestFileThatAnotherHasIsUnavailable: a write waits for another process for a while, and
// then fails for that reason. Reads go on.
func TestFileThatAnotherHasIsUnavailable(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	path := newDatabase(t)
	l, err := open(t, path).CreateLog(t.Context(), "test", "example.com/test")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := stranger(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	checkpoint := storage.Checkpoint{Note: []byte("note"), Published: time.Now()}
	if err := l.AddCheckpoint(t.Context(), checkpoint); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("write: error %v, want %q", err, storage.ErrUnavailable)
	}
	if _, err := l.Head(t.Context()); err != nil {
		t.Errorf("read: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := l.AddCheckpoint(t.Context(), checkpoint); err != nil {
		t.Errorf("write once it is free: %v", err)
	}
}
