package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stele-log/stele/internal/durable"
)

func TestPermissionsForOthersAreNoticed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("permissions are not in the mode")
	}
	dir := t.TempDir()
	if durable.WritableByAll(dir) || len(durable.KeysOpenToOthers(filepath.Join(dir, "none.key"))) > 0 {
		t.Error("a private folder and a file that is not there are said to be open")
	}
	for mode, want := range map[fs.FileMode]bool{0o755: false, 0o770: false, 0o777: true, 0o702: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := durable.WritableByAll(dir); got != want {
			t.Errorf("folder of mode %o: %t, want %t", mode, got, want)
		}
	}
	key := filepath.Join(dir, "a.key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]int{0o600: 0, 0o400: 0, 0o640: 1, 0o604: 1, 0o644: 1, 0o620: 1} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		if got := durable.KeysOpenToOthers(key); len(got) != want {
			t.Errorf("key of mode %o: %v, want %d", mode, got, want)
		}
	}
}
