package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
)

// A servedWitness is a witness in a process of its own.
type servedWitness struct {
	served
	vkeys []string
}

// serveWitness starts a witness named w.example/w1 and waits until it is ready.
// It is stopped at the end of the test.
func serveWitness(t *testing.T, args ...string) *servedWitness {
	t.Helper()
	args = append([]string{"witness", "serve", "--name", "w.example/w1", "--listen", "127.0.0.1:0"}, args...)
	w := &servedWitness{served: served{cmd: stele(t, args...)}}
	var errs bytes.Buffer
	w.cmd.Stderr = &errs
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.end(syscall.SIGTERM) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var ok bool
		if _, w.url, ok = strings.Cut(lines.Text(), "witness w.example/w1 is ready at "); ok {
			return w
		}
		w.vkeys = append(w.vkeys, lines.Text())
	}
	w.end(syscall.SIGKILL)
	t.Fatalf("the witness printed %q\n%s", w.vkeys, errs.String())
	return nil
}

// logSigner returns what signs checkpoints of trees of one log, and its key.
func logSigner(t *testing.T, origin string) (sign func(tree.Head) []byte, vkey string) {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(strings.NewReader(fmt.Sprintf("%-32s", origin)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return func(head tree.Head) []byte {
		msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: origin, Head: head}, signer)
		if err != nil {
			t.Error(err)
		}
		return msg
	}, vkey
}

// addCheckpoint sends a request and returns the status and the body.
func addCheckpoint(url string, r witness.AddCheckpoint) (int, string, error) {
	resp, err := http.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(r.String()))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestWitnessIsAdministeredWhileItRuns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "w")
	w := serveWitness(t, "--data", dir)
	sign, vkey := logSigner(t, "log.example/a")
	request := witness.AddCheckpoint{Note: sign(tree.Empty())}
	expect := func(want int) {
		t.Helper()
		if status, body, err := addCheckpoint(w.url, request); status != want {
			t.Errorf("status %d, %v, want %d: %s", status, err, want, body)
		}
	}
	expect(404)
	out, _ := run(t, 0, "witness", "add-log", vkey, "--data", dir)
	if out != "following log.example/a: 1 of 1 keys are new\n" {
		t.Errorf("add-log prints %q", out)
	}
	expect(200)
	run(t, 0, "witness", "pause", "log.example/a", "--data", dir)
	expect(503)
	run(t, 0, "witness", "resume", "log.example/a", "--data", dir)
	expect(200)
	if _, stderr := run(t, 1, "witness", "pause", "log.example/b", "--data", dir); !strings.Contains(stderr, "does not follow") {
		t.Errorf("pausing an unknown log: %q", stderr)
	}

	out, _ = run(t, 0, "witness", "vkeys", "--data", dir)
	if got := strings.Fields(out); len(got) != 2 || !slices.Equal(got, w.vkeys) {
		t.Errorf("vkeys prints %q, serve %q", got, w.vkeys)
	}
	var list struct {
		Logs []struct {
			Origin   string
			VKeys    []string
			Size     *uint64
			Root     tree.Hash
			SignedAt string `json:"signed_at"`
		}
	}
	out, _ = run(t, 0, "witness", "list", "--json", "--data", dir)
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Logs) != 1 {
		t.Fatalf("list --json prints %s, %v", out, err)
	}
	if l := list.Logs[0]; l.Origin != "log.example/a" || l.VKeys[0] != vkey || l.Size == nil || l.Root != tree.EmptyRoot || l.SignedAt == "" {
		t.Errorf("list --json prints %s", out)
	}
	if err := w.stop(); err != nil {
		t.Errorf("the witness ended with %v", err)
	}
	for _, name := range []string{"ed25519.key", "mldsa44.key", "witness.db"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v: others can read it", name, info, err)
		}
	}
}

func TestWitnessReadyLineAsJSON(t *testing.T) {
	t.Parallel()
	cmd := stele(t, "witness", "serve", "--name", "w", "--listen", "127.0.0.1:0", "--log-format", "json", "--data", t.TempDir())
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
	var line struct {
		Msg, Address, Name string
		VKeys              []string
	}
	if err := json.NewDecoder(out).Decode(&line); err != nil || line.Msg != "ready" || line.Name != "w" || len(line.VKeys) != 2 {
		t.Fatalf("the witness printed %+v, %v", line, err)
	}
	resp, err := http.Get(line.Address + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("healthz: %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestWitnessFollowsALogListWhileItRuns(t *testing.T) {
	t.Parallel()
	sign, vkey := logSigner(t, "log.example/a")
	lists := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "logs/v0\n\nvkey %s\nqpd 86400\ncontact nobody\n", vkey)
	}))
	defer lists.Close()
	w := serveWitness(t, "--data", t.TempDir(), "--log-list", lists.URL)
	waitFor(t, "a log of the list to be followed", func() bool {
		status, _, _ := addCheckpoint(w.url, witness.AddCheckpoint{Note: sign(tree.Empty())})
		return status == 200
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "list")
	if err := os.WriteFile(file, fmt.Appendf(nil, "logs/v0\nvkey %s\nqpd 1\ncontact c\nvkey x+00000000+AQ==\nqpd 1\ncontact c\n", vkey), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr := run(t, 0, "witness", "add-list", file, "--data", dir)
	if stdout != "following log.example/a\n" || !strings.Contains(stderr, `skipped log "x"`) {
		t.Errorf("add-list prints %q, %q", stdout, stderr)
	}
}

func TestWitnessRefusesToForget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serveArgs := []string{"witness", "serve", "--name", "w.example/w1", "--listen", "127.0.0.1:0", "--data", dir}
	refused := func(want string, args ...string) {
		t.Helper()
		if _, stderr := run(t, 1, args...); !strings.Contains(stderr, want) {
			t.Errorf("it says %q, want %q", stderr, want)
		}
	}
	refused("there is no witness in", "witness", "vkeys", "--data", dir)
	w := serveWitness(t, "--data", dir)
	refused("another server uses the data folder", serveArgs...)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	refused(`are those of the witness "w.example/w1"`, "witness", "serve", "--name", "another", "--listen", "127.0.0.1:0", "--data", dir)
	keys := filepath.Join(dir, "ed25519.key")
	if err := os.Rename(keys, keys+".away"); err != nil {
		t.Fatal(err)
	}
	refused("the database belongs to the witness", serveArgs...)
	if err := os.Rename(keys+".away", keys); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"witness.db", "witness.db-wal", "witness.db-shm"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	refused("has never used this database", serveArgs...)
	again := serveWitness(t, "--data", dir, "--new-database")
	if !slices.Equal(again.vkeys, w.vkeys) {
		t.Error("the keys have changed")
	}
}

func TestWitnessServeSaysWhatIsWrongWithItsFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                     "--name is missing",
		"--name a+b":                           "cannot name a key",
		"--name a --listen 256.0.0.1:1":        "choose another address",
		"--name a --log-list-interval 1ms":     "1s or more",
		"--name a --database mysql://x":        "not a postgres:// URL",
		"--name a --database postgres://0:1/x": "connect",
	} {
		_, stderr := run(t, 1, append([]string{"witness", "serve", "--data", t.TempDir()}, strings.Fields(args)...)...)
		if !strings.Contains(stderr, want) {
			t.Errorf("%s: it says %q, want %q", args, stderr, want)
		}
	}
}

// patience is how long is waited for what ought to happen soon.
const patience = 2 * time.Minute

// waitFor waits until something is done, and fails the test if it is not.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
