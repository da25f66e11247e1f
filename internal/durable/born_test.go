package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/durable"
)

// TestACopyIsBornLater copies a file as backups do, with the time of the original.
func TestACopyIsBornLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	original, duplicate := filepath.Join(dir, "original"), filepath.Join(dir, "copy")
	if _, err := durable.Born(original); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: error %v", err)
	}
	born := func(path string) time.Time {
		t.Helper()
		at, err := durable.Born(path)
		if err != nil {
			t.Fatal(err)
		}
		if at.IsZero() {
			t.Skip("this file system does not keep when a file was created")
		}
		return at
	}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(original, "a")
	first := born(original)
	write(original, "b")
	long := time.Now().Add(-time.Hour)
	time.Sleep(20 * time.Millisecond) // longer than a tick of the kernel's clock of files
	write(duplicate, "b")
	for _, path := range []string{original, duplicate} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(original, original+".moved"); err != nil {
		t.Fatal(err)
	}
	if got := born(original + ".moved"); !got.Equal(first) {
		t.Errorf("the file was born at %v, and later at %v", first, got)
	}
	if got := born(duplicate); !got.After(first) {
		t.Errorf("the copy was born at %v, the file at %v", got, first)
	}
}
