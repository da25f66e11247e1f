package mirror_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/test/memlog"
	"github.com/stele-log/stele/internal/watch/mirror"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tile"
)

// update brings the copy in dir up to date.
func update(t *testing.T, l *memlog.Log, dir string, fsys durable.FileSystem) (mirror.Update, error) {
	t.Helper()
	m, err := mirror.Open(mirror.Config{Log: l, Dir: dir, Policy: l.Policy, FileSystem: fsys})
	if err != nil {
		return mirror.Update{}, err
	}
	defer m.Close()
	return m.Update(t.Context())
}

// wantWhole fails the test unless the copy is whole, and has that size.
func wantWhole(t *testing.T, l *memlog.Log, dir string, sizes ...uint64) uint64 {
	t.Helper()
	r, err := client.Check(t.Context(), tile.FS(os.DirFS(dir)), l.Policy, client.CheckOptions{})
	if err != nil {
		t.Fatalf("the copy is not whole: %v", err)
	}
	if !slices.Contains(sizes, r.Size) {
		t.Fatalf("the copy has %d entries, want one of %d", r.Size, sizes)
	}
	return r.Size
}

// content returns the files of a folder, but for temporary ones and the lock.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" || strings.HasSuffix(path, ".tmp") {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
