package durable_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/durable"
)

func TestLockIsHeldOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 {
		unlock, err := durable.Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := durable.Lock(path); !errors.Is(err, durable.ErrLocked) {
			t.Errorf("locked twice: error %v, want %v", err, durable.ErrLocked)
		}
		unlock()
	}
	if _, err := durable.Lock(filepath.Join(path, "below")); err == nil || errors.Is(err, durable.ErrLocked) {
		t.Errorf("a lock that cannot be made: error %v", err)
	}
}

// lockVariable names, in the environment of a child process, what it is to lock.
const lockVariable = "STELE_TEST_LOCK"

// TestLockEndsWithTheProcess runs itself again, in a process that it kills.
func TestLockEndsWithTheProcess(t *testing.T) {
	if path := os.Getenv(lockVariable); path != "" {
		if _, err := durable.Lock(path); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		time.Sleep(time.Minute)
		return
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	child := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithTheProcess$")
	child.Env = append(os.Environ(), lockVariable+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, readErr := bufio.NewReader(out).ReadString('\n')
	_, lockErr := durable.Lock(path)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if said != "locked\n" || readErr != nil {
		t.Fatalf("the child printed %q, %v", said, readErr)
	}
	if !errors.Is(lockErr, durable.ErrLocked) {
		t.Errorf("while the child holds the lock: error %v, want %v", lockErr, durable.ErrLocked)
	}
	unlock, err := durable.Lock(path)
	if err != nil {
		t.Fatalf("after the child's death: %v", err)
	}
	unlock()
}
