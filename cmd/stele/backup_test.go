package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/client"
)

// backup copies the data folder of a server that is stopped, and its database, to where
// restore finds them.
func (d database) backup(t *testing.T) (saved database) {
	t.Helper()
	saved.dir = filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(saved.dir, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	if d.url != "" {
		saved.url = pgtest.Copy(t, d.url)
	}
	return saved
}

// restoreDatabase puts the database of a backup in the place of d's, and leaves the rest
// of the folder as it is.
func (d database) restoreDatabase(t *testing.T, saved database) database {
	t.Helper()
	d = d.lose(t)
	if d.url != "" {
		d.url = pgtest.Copy(t, saved.url)
		d.flags = []string{"--data", d.dir, "--database", d.url}
		return d
	}
	b, err := os.ReadFile(filepath.Join(saved.dir, "stele.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "stele.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// restoreFolder puts a copy of the backup's folder in the place of d's, keys, records and
// all.
func (d database) restoreFolder(t *testing.T, saved database) {
	t.Helper()
	if err := os.RemoveAll(d.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(d.dir, os.DirFS(saved.dir)); err != nil {
		t.Fatal(err)
	}
}

// TestRestoringABackup restores what was saved before the log went on, in the wrong ways
// and then in the right one, as docs/operations.md has it.
func TestRestoringABackup(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		key := fill(t, s)
		s.end(syscall.SIGTERM)
		saved := d.backup(t)

		s = serve(t, d.flags...)
		c := newClient(t, s)
		if _, err := c.WithReceipts().Append(t.Context(), client.Event{Type: "after the backup"}); err != nil {
			t.Fatal(err)
		}
		receipt := save(t, c, 900)
		mirror := filepath.Join(t.TempDir(), "mirror")
		run(t, 0, "mirror", c.Prefix(), mirror, "--key", key, "--once")
		s.end(syscall.SIGTERM)
		newest := d.backup(t)

		// Folder and database from one backup agree, and know nothing of entry 900.
		d = d.restoreDatabase(t, saved)
		d.restoreFolder(t, saved)
		_, stderr := run(t, 1, append([]string{"serve", "--listen", "127.0.0.1:0"}, d.flags...)...)
		if !strings.Contains(stderr, "are both copies") {
			t.Errorf("serve says %q of a folder and a database from one backup", stderr)
		}

		// The database alone: the record knows what was signed.
		d.restoreFolder(t, newest)
		d = d.restoreDatabase(t, saved)
		run(t, 0, "restore", mirror, "--log", "default", "--key", key, "--data", d.dir, "--database", d.url)
		s = serve(t, d.flags...)
		goesOn(t, s, mirror, key, 901)
		run(t, 0, append(receipt, "--key", key)...)
	})
}

// TestSecondServerMayHaveACopyOfTheFolder starts one on the database of the first.
func TestSecondServerMayHaveACopyOfTheFolder(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "postgres")
	fill(t, serve(t, d.flags...))
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	serve(t, "--data", copied, "--database", d.url)
}

// TestMovedFolderIsServedOnceToldSo moves an embedded log to another disk.
func TestMovedFolderIsServedOnceToldSo(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "sqlite")
	s := serve(t, d.flags...)
	key := fill(t, s)
	s.end(syscall.SIGTERM)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(moved, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	_, stderr := run(t, 1, "serve", "--listen", "127.0.0.1:0", "--data", moved)
	place := filepath.Join(moved, "place.json")
	if !strings.Contains(stderr, "If both were only moved") || !strings.Contains(stderr, "remove "+place) {
		t.Errorf("serve says %q", stderr)
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	s = serve(t, "--data", moved)
	run(t, 0, "check", newClient(t, s).Prefix(), "--key", key)
}
