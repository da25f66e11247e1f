package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// stele returns the command with arguments, to be run in an empty environment
// but for what Go itself needs.
func stele(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("stele", args...) // TestMain has put it in the path
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	return cmd
}

// run runs the command to its end and returns what it printed. It fails the test
// unless the exit status is as wanted.
func run(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := stele(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		t.Fatalf("stele %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// A served is a server in a process of its own.
type served struct {
	cmd  *exec.Cmd
	url  string
	errs bytes.Buffer // what it has printed to standard error; to be read when it has ended
}

// serve starts a server, in a folder of its own, and waits until it is ready. It
// is stopped at the end of the test.
func serve(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{cmd: stele(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)}
	s.cmd.Dir = t.TempDir()
	s.cmd.Stderr = &s.errs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(syscall.SIGTERM) })
	line, err := bufio.NewReader(out).ReadString('\n')
	var ok bool
	if _, s.url, ok = strings.Cut(strings.TrimSpace(line), "ready at "); !ok {
		s.end(syscall.SIGKILL)
		t.Fatalf("server printed %q, %v\n%s", line, err, s.errs.String())
	}
	return s
}

// stop ends the server as an operator does.
func (s *served) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// end sends the signal and waits for the process's end.
func (s *served) end(signal os.Signal) {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(signal)
		_ = s.cmd.Wait()
	}
}

// onBoth runs a test with the serve flags of a new SQLite and of a new
// PostgreSQL database.
func onBoth(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, kind))
		})
	}
}
