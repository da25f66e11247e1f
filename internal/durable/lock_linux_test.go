package durable_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stele-log/stele/internal/durable"
)

// TestUnlockingIsAtOnceWhileAChildStarts: between fork and exec a child has all
// that its parent has open.
func TestUnlockingIsAtOnceWhileAChildStarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := durable.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer duplicates(t, path)()
	unlock()
	again, err := durable.Lock(path)
	if err != nil {
		t.Fatalf("what was unlocked: %v", err)
	}
	again()
}

// duplicates duplicates the descriptors by which this process has a file open, and
// returns what closes them.
func duplicates(t *testing.T, path string) (closeAll func()) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("there is no /proc: ", err)
	}
	var all []int
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == path {
			fd, err := strconv.Atoi(e.Name())
			if err == nil {
				fd, err = syscall.Dup(fd)
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fd)
		}
	}
	if len(all) == 0 {
		t.Fatal("the lock is not open")
	}
	return func() {
		for _, fd := range all {
			_ = syscall.Close(fd)
		}
	}
}
