package keyfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-log/stele/internal/keyfile"
)

func TestKeyIsKeptOnceItIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	for _, skey := range []string{"first", "second"} {
		if err := keyfile.Create(path, func() (string, string, error) { return skey, "", nil }); err != nil {
			t.Fatal(err)
		}
		if got, err := keyfile.Read(path); got != "first" || err != nil {
			t.Fatalf("after %s: got %q, %v, want the first", skey, got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v, want 0600", info.Mode(), err)
	}
	if left, err := filepath.Glob(path + ".*"); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFailedKeyLeavesNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	failed := errors.New("no randomness")
	if err := keyfile.Create(path, func() (string, string, error) { return "", "", failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
	if _, err := keyfile.Read(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
}
