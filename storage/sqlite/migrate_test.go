package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/sqlite"
	"github.com/stele-log/stele/storage/storagetest"
)

func TestMigrateTwiceIsOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	newest, err := migrations.SQLite.Newest()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{0, newest, newest} {
		from, to, err := sqlite.Migrate(t.Context(), path)
		if err != nil || from != want || to != newest {
			t.Fatalf("migrated from %d to %d, error %v; want from %d to %d", from, to, err, want, newest)
		}
	}
	l, err := open(t, path).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Errorf("migrate a file that is up to date while a server writes to it: %v", err)
	}
}

func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	open(t, path)
}

func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, newer := newDatabase(t), newDatabase(t)
	exec(t, old, "DROP TRIGGER migrations_delete")
	exec(t, old, "DELETE FROM migrations WHERE version_id > 0")
	exec(t, newer, "INSERT INTO migrations (version_id, is_applied) VALUES (9999, 1)")
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absent := filepath.Join(dir, "absent")
	for name, test := range map[string]struct{ path, want string }{
		"absent":     {absent, "run stele migrate"},
		"empty":      {write("empty", ""), "run stele migrate"},
		"old":        {old, "run stele migrate"},
		"newer":      {newer, "run a newer stele"},
		"not SQLite": {write("text", strings.Repeat("no database\n", 100)), "file is not a database"},
	} {
		s, err := sqlite.Open(t.Context(), test.path)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.path) {
			t.Errorf("open a file that is %s: error %v, want one with %q", name, err, test.want)
		}
	}
	if _, err := os.Stat(absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening an absent file has made it: error %v", err)
	}
	if _, _, err := sqlite.Migrate(t.Context(), newer); err == nil || !strings.Contains(err.Error(), "run a newer stele") {
		t.Errorf("migrate a newer file: error %v", err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	path := newDatabase(t)
	l, err := open(t, path).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 10)
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, error %v; want the database, its log and its lock", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, error %v; want -rw-------", f.Name(), info.Mode(), err)
		}
	}
}

// TestLeaseIsTheFiles leads through a link to the file.
func TestLeaseIsTheFiles(t *testing.T) {
	t.Parallel()
	path := newDatabase(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	one, err := open(t, path).CreateLog(t.Context(), "one", "log.example/one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := open(t, link).CreateLog(t.Context(), "two", "log.example/two")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := one.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Lead(t.Context(), "http://here"); !errors.Is(err, storage.ErrLeased) {
		t.Errorf("lead a log of a file that another store writes to: error %v, want %q", err, storage.ErrLeased)
	}
	lease.Release()
	if lease, err = two.Lead(t.Context(), "http://here"); err != nil {
		t.Fatal(err)
	}
	lease.Release()
}
