package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stele-log/stele/pkg/client"
)

func TestServeWithoutFlagsKeepsEverythingInOneFolder(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := newClient(t, s)
	if _, err := c.WithReceipts().Append(t.Context(), client.Event{Type: "hello"}); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	for _, name := range []string{"stele.db", "logs/default/ed25519.key", "logs/default/signed.checkpoint"} {
		info, err := os.Stat(filepath.Join(s.cmd.Dir, "stele-data", name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v: others can read it", name, info.Mode())
		}
	}
}

func TestServeWarnsOfWhatOtherUsersCanReach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, "--data", dir, "--origin-prefix", "log.example")
	if err := s.stop(); err != nil || strings.Contains(s.errs.String(), "WARN") {
		t.Fatalf("a new server ended with %v:\n%s", err, s.errs.String())
	}
	key := filepath.Join(dir, "logs", "default", "ed25519.key")
	if err := errors.Join(os.Chmod(key, 0o644), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	s = serve(t, "--data", dir)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"can read this key", key, "can write to the data folder"} {
		if !strings.Contains(s.errs.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, s.errs.String())
		}
	}
}

func TestServeOnLoopbackAnswersForItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, "--origin-prefix", "logs.example.com/audit")
	for host, want := range map[string]int{"localhost": 200, "logs.example.com": 200, "attacker.example": 421} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/logs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("host %s: status %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestTwoServersCannotShareADataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, "--data", dir)
	_, stderr := run(t, 1, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if !strings.Contains(stderr, "another server uses the data folder") {
		t.Errorf("the second one says %q", stderr)
	}
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestHealthAndMetricsCanBeServedApart(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	s := serve(t, "--admin-listen", admin)
	for url, want := range map[string]int{
		"http://" + admin + "/healthz": 200,
		"http://" + admin + "/readyz":  200,
		"http://" + admin + "/metrics": 200,
		"http://" + admin + "/logs":    404,
		s.url + "/healthz":             200,
		s.url + "/readyz":              200,
		s.url + "/metrics":             404,
	} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", url, resp.StatusCode, want)
		}
	}
	metrics := get(t, "http://"+admin+"/metrics")
	for _, want := range []string{`stele_build_info{commit=`, `stele_database_connections{state="in_use"}`, "stele_http_connections ",
		`stele_log_tree_size{log="default"} 0`, `stele_log_stored_bytes_total{log="default"} 0`, `stele_log_oldest_append_seconds{log="default"} 0`} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	_, stderr := run(t, 1, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", "256.0.0.1:1")
	if !strings.Contains(stderr, "choose another address with --admin-listen") {
		t.Errorf("for an address that is none it says %q", stderr)
	}
}

func TestReadyLineAsJSON(t *testing.T) {
	t.Parallel()
	cmd := stele(t, "serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data", t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	var line struct{ Msg, Address string }
	if err := json.NewDecoder(out).Decode(&line); err != nil || line.Msg != "ready" {
		t.Fatalf("the server printed %+v, %v", line, err)
	}
	resp, err := http.Get(line.Address + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("readyz: %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestRequestsAndCheckpointsAreLoggedAtDebug(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"info", "debug"} {
		s := serve(t, "--log-level", level)
		for range 3 {
			if _, err := newClient(t, s).WithReceipts().Append(t.Context(), client.Event{Type: "hello"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		for msg, want := range map[string]int{`msg=request method=POST path=/logs/default/events status=200 elapsed=`: 3, `msg="checkpoint published"`: 3} {
			if level == "info" {
				want = 0
			}
			if n := strings.Count(s.errs.String(), msg); n < want || want == 0 && n > 0 {
				t.Errorf("at %s there are %d lines with %s, want %d:\n%s", level, n, msg, want, s.errs.String())
			}
		}
	}
}

func TestTimesInTheLogHaveAUnit(t *testing.T) {
	t.Parallel()
	cmd := stele(t, "serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--data", t.TempDir())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1000)) // until it is ready
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if !regexp.MustCompile(`"msg":"checkpoint published".*"elapsed":"[0-9.]+(µs|ms|s)"`).Match(errs.Bytes()) {
		t.Errorf("no time with a unit:\n%s", errs.String())
	}
}

func TestDemoVerifiesItsReceipts(t *testing.T) {
	t.Parallel()
	stdout, _ := run(t, 0, "demo", "--events", "12", "--rate", "1000", "--listen", "127.0.0.1:0")
	for _, want := range []string{"is ready at http://127.0.0.1:", "12 receipts verified; the log of 12 entries is whole"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("demo does not print %q:\n%s", want, stdout)
		}
	}
}

func TestServeSaysWhatIsWrongWithItsFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--checkpoint-interval 1ms":           "100ms or more",
		"--database mysql://x":                "not a postgres:// URL",
		"--listen 256.0.0.1:1":                "choose another address with --listen",
		"--log-format xml":                    "text or json",
		"--database postgres://127.0.0.1:1/x": "connect",
	} {
		_, stderr := run(t, 1, append(strings.Fields(args), "serve", "--data", t.TempDir())...)
		if !strings.Contains(stderr, want) {
			t.Errorf("%s: it says %q, want %q", args, stderr, want)
		}
	}
	_, stderr := run(t, 2, "serve", "--nonsense")
	if !strings.Contains(stderr, "--help") {
		t.Errorf("an unknown flag: it says %q", stderr)
	}
}
