package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/watch/auditor"
	"github.com/stele-log/stele/pkg/client"
)

// runCommand runs one command with arguments, and returns what it printed.
func runCommand(ctx context.Context, cmd *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

// startLog starts a server with a data folder, and appends events whose content
// is the tag. It returns the log's URL and its verifier key.
func startLog(t *testing.T, data, tag string, n int) (url, vkey string) {
	t.Helper()
	var f serveFlags
	f.register(&cobra.Command{}) // sets the defaults
	f.data, f.listen.Address, f.interval, f.originPrefix, f.cacheMiB = data, "127.0.0.1:0", minInterval, "log.example", 1
	ctx, cancel := context.WithCancel(context.Background())
	s, release, err := f.start(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := s.Run(ctx)
		release()
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	c, err := client.New(client.Config{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := c.Append(t.Context(), client.Event{ID: fmt.Sprint(i), Source: "test", Type: "t", Data: tag}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Receipt(t.Context(), uint64(n-1), true); err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.Prefix(), info.VKeys[0]
}

// TestAuditFindsASecondHistory follows a log whose operator then serves another
// one, signed with the same key, and verifies the contradiction offline.
func TestAuditFindsASecondHistory(t *testing.T) {
	t.Parallel()
	one, two, state := t.TempDir(), t.TempDir(), t.TempDir()
	url, vkey := startLog(t, one, "a", 5)
	key, err := os.ReadFile(filepath.Join(one, "logs/default/ed25519.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(two, "logs/default"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(two, "logs/default/ed25519.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	otherURL, otherKey := startLog(t, two, "b", 5)
	if otherKey != vkey {
		t.Fatal("the second log has another key")
	}

	flags := []string{"--key", vkey, "--state", state, "--once", "--interval", "100ms"}
	if out, err := runCommand(t.Context(), newAuditCmd(), append(flags, url)...); err != nil || out != "" {
		t.Fatalf("a log that is well: %v, %s", err, out)
	}
	out, err := runCommand(t.Context(), newAuditCmd(), append(flags, otherURL)...)
	if !errors.Is(err, auditor.ErrContradiction) || !strings.Contains(out, "CONTRADICTION (fork): the log log.example/default") {
		t.Fatalf("a second history: %v, %s", err, out)
	}
	_, file, _ := strings.Cut(strings.TrimSpace(out), "proof: ")

	out, err = runCommand(t.Context(), newVerifyContradictionCmd(), file, "--key", vkey)
	if err != nil || !strings.Contains(out, "the contradiction holds (fork)") || !strings.Contains(out, otherURL) {
		t.Errorf("verify contradiction: %v, %s", err, out)
	}
	out, err = runCommand(t.Context(), newVerifyContradictionCmd(), file, "--key", vkey, "--json")
	if err != nil || !strings.Contains(out, `"kind":"fork"`) {
		t.Errorf("verify contradiction --json: %v, %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text[:len(text)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := runCommand(t.Context(), newVerifyContradictionCmd(), file, "--key", vkey); err == nil || out != "" {
		t.Errorf("a contradiction that is cut: %v, %s", err, out)
	}
}

func TestAuditSaysByItsStatusWhatIsWrong(t *testing.T) {
	t.Parallel()
	url, vkey := startLog(t, t.TempDir(), "a", 1)
	tests := []struct {
		name   string
		args   []string
		status int
	}{
		{"nobody there", []string{"http://127.0.0.1:1/", "--key", vkey, "--once"}, exitUnchecked},
		{"no URL", []string{"here", "--key", vkey, "--once"}, exitUsage},
		{"no key", []string{url, "--once"}, exitUsage},
		{"not a key", []string{url, "--once", "--key", "a+b+c"}, exitUsage},
		{"too often", []string{url, "--key", vkey, "--interval", "1ms"}, exitUsage},
		{"neither exit nor continue", []string{url, "--key", vkey, "--on-contradiction", "pray"}, exitUsage},
	}
	for _, tt := range tests {
		args := append([]string{"--state", t.TempDir(), "--interval", "100ms"}, tt.args...)
		_, err := runCommand(t.Context(), newAuditCmd(), args...)
		if err == nil || exitStatus(err) != tt.status {
			t.Errorf("%s: %v, want status %d", tt.name, err, tt.status)
		}
	}
}

func TestAuditServesMetrics(t *testing.T) {
	t.Parallel()
	url, vkey := startLog(t, t.TempDir(), "a", 3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := runCommand(ctx, newAuditCmd(), url, "--key", vkey, "--state", t.TempDir(), "--metrics", address, "--interval", "100ms")
		ended <- err
	}()
	want := `stele_audit_verified_size{origin="log.example/default"} 3`
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(fetch(address), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the metrics are %s", fetch(address))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// fetch returns the metrics, or nothing.
func fetch(address string) string {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}
