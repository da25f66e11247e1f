package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/client"
)

func TestMirrorFollowsUntilItIsStopped(t *testing.T) {
	t.Parallel()
	s := serve(t)
	key := fill(t, s)
	dir := filepath.Join(t.TempDir(), "copy")
	cmd := stele(t, "mirror", s.url+"/logs/default", dir, "--key", key, "--interval", "50ms", "--json")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	waitForSize(t, dir, "\n900\n")
	if _, err := newClient(t, s).WithReceipts().Append(t.Context(), client.Event{Type: "later"}); err != nil {
		t.Fatal(err)
	}
	waitForSize(t, dir, "\n901\n")
	// A web server is all that it takes to serve the copy.
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer web.Close()
	run(t, 0, "check", web.URL, "--key", key)
	if _, stderr := run(t, 3, "mirror", web.URL, dir, "--key", key, "--once"); !strings.Contains(stderr, "another mirror") {
		t.Errorf("a second mirror says %q", stderr)
	}

	s.end(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond) // it cannot read the log now, and goes on
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the mirror ended with %v\n%s", err, out.String())
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	var report struct {
		Size, Added uint64
		Changed     bool
	}
	if err := json.Unmarshal([]byte(line), &report); err != nil || report.Size != 900 || report.Added != 900 || !report.Changed {
		t.Errorf("the mirror says %s", out.String())
	}
	if !strings.Contains(out.String(), "trying again") {
		t.Errorf("the mirror does not say that it cannot read the log: %s", out.String())
	}
	run(t, 0, "check", dir, "--key", key)
}

// waitForSize waits until the checkpoint in dir says what is wanted.
func waitForSize(t *testing.T, dir, want string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("the copy to have size %q", want), func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
		return err == nil && strings.Contains(string(b), want)
	})
}

// TestMirrorRefusesAnotherHistory shows it a log that was begun again with the
// same key.
func TestMirrorRefusesAnotherHistory(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		dir := filepath.Join(t.TempDir(), "copy")
		s := serve(t, d.flags...)
		key := fill(t, s)
		run(t, 0, "mirror", s.url+"/logs/default", dir, "--key", key, "--once")
		before, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		s.end(syscall.SIGTERM)

		// An operator who has the key, and takes the record away.
		d = d.lose(t)
		if err := os.Remove(filepath.Join(d.dir, "logs/default/signed.checkpoint")); err != nil {
			t.Fatal(err)
		}
		s = serve(t, d.flags...)
		c := newClient(t, s)
		events := make([]client.Event, 950)
		for i := range events {
			events[i] = client.Event{Type: "other"}
		}
		if _, err := c.WithReceipts().Append(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		_, stderr := run(t, 1, "mirror", c.Prefix(), dir, "--key", key, "--once")
		for _, want := range []string{"the log has signed two histories", string(before), "\n950\n"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("mirror says %q, want %q in it", stderr, want)
			}
		}
		out, _ := run(t, 0, "check", dir, "--key", key)
		if !strings.Contains(out, "has 900 entries") {
			t.Errorf("check says %q of the copy", out)
		}
	})
}
