package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/test/faultfs"
)

const old, content = "what was there before", "what is written"

// operations each write content to dir/file.
var operations = []struct {
	name    string
	before  string // what is in the file, if it is there
	perform func(fsys durable.FileSystem, dir string) error
}{
	{"Replace", old, func(fsys durable.FileSystem, dir string) error {
		return durable.Replace(fsys, filepath.Join(dir, "file"), []byte(content), 0o600)
	}},
	{"Replace without a file", "", func(fsys durable.FileSystem, dir string) error {
		return durable.Replace(fsys, filepath.Join(dir, "file"), []byte(content), 0o600)
	}},
	{"ReplaceFunc", old, func(fsys durable.FileSystem, dir string) error {
		return durable.ReplaceFunc(fsys, filepath.Join(dir, "file"), 0o600, func(w io.Writer) error {
			_, err := io.WriteString(w, content)
			return err
		})
	}},
	{"Write", old, func(fsys durable.FileSystem, dir string) error {
		if err := durable.Write(fsys, filepath.Join(dir, "file"), []byte(content), 0o600); err != nil {
			return err
		}
		return fsys.SyncDir(dir)
	}},
	{"Create", "", func(fsys durable.FileSystem, dir string) error {
		return durable.Create(fsys, filepath.Join(dir, "file"), []byte(content), 0o600)
	}},
	{"MkdirAll", "", func(fsys durable.FileSystem, dir string) error {
		if err := durable.MkdirAll(fsys, filepath.Join(dir, "a", "b", "c"), 0o700); err != nil {
			return err
		}
		// A file in them, so that their loss is one.
		below := filepath.Join(dir, "a", "b", "c", "file")
		if err := durable.Replace(fsys, below, []byte(content), 0o600); err != nil {
			return err
		}
		return durable.Replace(fsys, filepath.Join(dir, "file"), []byte(content), 0o600)
	}},
}

// TestFaultLeavesTheOldFileOrTheNew stops each operation at each of its steps,
// in three ways, and then tries again: in the same process, or after it.
func TestFaultLeavesTheOldFileOrTheNew(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for _, way := range []string{"failed", "failed but done", "power lost"} {
			t.Run(op.name+"/"+way, func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					dir := t.TempDir()
					if op.before != "" {
						writeFile(t, filepath.Join(dir, "file"), op.before)
					}
					fsys := faultfs.New(t, at, way != "failed")
					err := op.perform(fsys, dir)
					if err == nil { // there is no such step
						wantDurable(t, fsys, dir)
						wantNoTemporaryFiles(t, dir)
						if at < 4 {
							t.Errorf("there were only %d steps", at-1)
						}
						return
					}
					if !errors.Is(err, faultfs.Err) {
						t.Fatalf("step %d: %v", at, err)
					}
					if way == "power lost" {
						cutPower(t, fsys)
					}
					if got := readFile(t, filepath.Join(dir, "file")); got != op.before && got != content {
						t.Fatalf("step %d: the file has %q", at, got)
					}
					fsys.Heal()
					if err := op.perform(fsys, dir); err != nil && !errors.Is(err, fs.ErrExist) {
						t.Fatalf("step %d: the next try: %v", at, err)
					}
					wantDurable(t, fsys, dir)
				}
			})
		}
	}
}

// wantDurable fails the test unless the content is there after a power failure.
func wantDurable(t *testing.T, fsys *faultfs.FS, dir string) {
	t.Helper()
	_, err := os.Stat(filepath.Join(dir, "a"))
	hasFolders := err == nil
	cutPower(t, fsys)
	if got := readFile(t, filepath.Join(dir, "file")); got != content {
		t.Fatalf("after a power failure the file has %q", got)
	}
	if !hasFolders {
		return
	}
	if got := readFile(t, filepath.Join(dir, "a", "b", "c", "file")); got != content {
		t.Fatalf("after a power failure the file in the folders has %q", got)
	}
}

func wantNoTemporaryFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(path, durable.TempSuffix) {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	writeFile(t, path, old)
	failed := errors.New("the source of the content failed")
	err := durable.ReplaceFunc(durable.System, path, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, failed)
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
	if got := readFile(t, path); got != old {
		t.Errorf("the file has %q", got)
	}
	wantNoTemporaryFiles(t, dir)
}

func TestFailedRenameLeavesNoTemporaryFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "file", "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(durable.System, filepath.Join(dir, "file"), []byte(content), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	wantNoTemporaryFiles(t, dir)
}

func TestCreateNeverReplaces(t *testing.T) {
	t.Parallel()
	const racers = 16
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	errs := make([]error, racers)
	var racing sync.WaitGroup
	for i := range errs {
		racing.Go(func() { errs[i] = durable.Create(durable.System, path, fmt.Append(nil, i), 0o600) })
	}
	racing.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = fmt.Sprint(i)
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("call %d: error %v, and call %q created the file", i, err, winner)
		}
	}
	if err := durable.Create(durable.System, path, []byte(content), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there: error %v, want %v", err, fs.ErrExist)
	}
	if got := readFile(t, path); got != winner || got == "" {
		t.Errorf("the file has %q, created was %q", got, winner)
	}
	wantNoTemporaryFiles(t, dir)
}

func TestMkdirAllRefusesAFileInItsPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, old)
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		if err := durable.MkdirAll(durable.System, dir, 0o700); err == nil {
			t.Errorf("%s: made", dir)
		}
	}
}

func TestPermissionsAreAsAsked(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permissions")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	sys := durable.System
	for name, perform := range map[string]func(perm fs.FileMode) error{
		"replaced": func(perm fs.FileMode) error { return durable.Replace(sys, path("replaced"), nil, perm) },
		"created":  func(perm fs.FileMode) error { return durable.Create(sys, path("created"), nil, perm) },
		"a/b":      func(perm fs.FileMode) error { return durable.MkdirAll(sys, path("a/b"), perm) },
	} {
		for _, perm := range []fs.FileMode{0o600, 0o700} {
			if strings.Contains(name, "/") && perm != 0o700 {
				continue // a folder that cannot be entered
			}
			if err := os.RemoveAll(path(name)); err != nil {
				t.Fatal(err)
			}
			if err := perform(perm); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path(name)); err != nil || info.Mode().Perm() != perm {
				t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, perm)
			}
		}
	}
}

func cutPower(t *testing.T, fsys *faultfs.FS) {
	t.Helper()
	if err := fsys.CutPower(); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// readFile returns a file's content, or nothing if there is no file.
func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}
