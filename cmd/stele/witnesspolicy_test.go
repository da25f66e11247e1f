package main_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/witnesstest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/client"
)

// putKey puts the key of a log where a server with that data folder would make
// it, so that witnesses can know the log before it is there.
func putKey(t *testing.T, data, name, origin string) (vkey string) {
	t.Helper()
	dir := filepath.Join(data, "logs", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ed25519.key")
	skey, vkey, err := checkpoint.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, file, skey+"\n")
	return vkey
}

func putFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A cosigned is the data of a log that three witnesses follow.
type cosigned struct {
	dir  string
	vkey string
	w    []*witnesstest.Witness
}

const cosignedOrigin = "logs.example/default"

func newCosigned(t *testing.T) *cosigned {
	t.Helper()
	c := &cosigned{dir: t.TempDir()}
	c.vkey = putKey(t, c.dir, "default", cosignedOrigin)
	for i := range 3 {
		w := witnesstest.New(t, fmt.Sprintf("witness.example/w%d", i+1))
		w.Follow(t, cosignedOrigin, c.vkey)
		c.w = append(c.w, w)
	}
	return c
}

// policy writes a policy that asks for k of the witnesses.
func (c *cosigned) policy(t *testing.T, k int) (file string) {
	t.Helper()
	return putFile(t, filepath.Join(t.TempDir(), "policy.txt"), witnesstest.PolicyText(k, c.w, c.vkey))
}

func (c *cosigned) serve(t *testing.T, args ...string) *served {
	t.Helper()
	return serve(t, append([]string{"--data", c.dir, "--origin-prefix", "logs.example",
		"--checkpoint-interval", "100ms", "--witness-timeout", "500ms"}, args...)...)
}

// receiptOf writes the receipt of an entry, and the entry.
func receiptOf(t *testing.T, s *served, index string) (receipt, entry string) {
	t.Helper()
	dir := t.TempDir()
	receipt = filepath.Join(dir, "receipt")
	run(t, 0, "receipt", index, "--wait", "--url", s.url, "-o", receipt)
	stdout, _ := run(t, 0, "get", index, "--url", s.url)
	return receipt, putFile(t, filepath.Join(dir, "entry"), stdout)
}

func appendOne(t *testing.T, s *served) {
	t.Helper()
	if _, err := newClient(t, s).Append(t.Context(), client.Event{Type: "hello"}); err != nil {
		t.Fatal(err)
	}
}

func TestReceiptIsVerifiedUnderAWitnessPolicy(t *testing.T) {
	t.Parallel()
	c := newCosigned(t)
	two := c.policy(t, 2)
	c.w[2].Kill()
	s := c.serve(t, "--witness-policy", two)
	appendOne(t, s)
	receipt, entry := receiptOf(t, s, "0")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	before := time.Now().Add(-time.Minute)
	stdout, _ := run(t, 0, "verify", "receipt", receipt, "--event", entry, "--policy", two, "--json")
	var verdict struct {
		Signers  []string
		Cosigned []struct {
			Witness string
			Time    time.Time
		}
	}
	if err := json.Unmarshal([]byte(stdout), &verdict); err != nil {
		t.Fatal(err)
	}
	if len(verdict.Cosigned) != 2 || verdict.Cosigned[0].Witness != "w1" || verdict.Cosigned[1].Witness != "w2" {
		t.Fatalf("it says %s", stdout)
	}
	for _, cosigned := range verdict.Cosigned {
		if cosigned.Time.Before(before) || cosigned.Time.After(time.Now()) {
			t.Errorf("%s has cosigned at %v", cosigned.Witness, cosigned.Time)
		}
	}
	stdout, _ = run(t, 0, "verify", "receipt", receipt, "--event", entry, "--policy", two)
	if !strings.Contains(stdout, "cosigned   by w1 at 20") || !strings.Contains(stdout, "cosigned   by w2 at 20") {
		t.Errorf("it prints\n%s", stdout)
	}

	text, err := os.ReadFile(receipt)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Index(string(text), "— "+c.w[1].Name)
	without := putFile(t, receipt+".without", string(text[:line]))
	poisoned := putFile(t, receipt+".poisoned", string(text[:len(text)-9])+flipped(string(text[len(text)-9:])))
	all, url := c.w, c.w[0].URL
	same := fmt.Sprintf("log %s\nwitness a %s %s\nwitness b %s %s\ngroup g 2 a b\nquorum g\n",
		c.vkey, all[0].VKeys[0], url, all[0].VKeys[0], url)
	member := fmt.Sprintf("log %s\nwitness a %s %s\ngroup g 2 a a\nquorum g\n", c.vkey, all[0].VKeys[0], url)
	other := witnesstest.New(t, c.w[0].Name) // of the same name
	for _, bad := range []struct {
		status                      int
		name, receipt, policy, says string
	}{
		{1, "three of three", receipt, c.policy(t, 3), "missing: w3"},
		{1, "one line taken out", without, two, `quorum "g" is not met: 1 of 3`},
		{1, "one line changed", poisoned, two, "invalid signature"},
		{2, "one key twice", receipt, putFile(t, two+".same", same), "same public key"},
		{2, "one member twice", receipt, putFile(t, two+".member", member), "group"},
		{1, "another key of the same name", receipt,
			putFile(t, two+".other", witnesstest.PolicyText(1, []*witnesstest.Witness{other}, c.vkey)), "is not met: 0 of 1"},
	} {
		_, stderr := run(t, bad.status, "verify", "receipt", bad.receipt, "--event", entry, "--policy", bad.policy)
		if !strings.Contains(stderr, bad.says) {
			t.Errorf("%s: it says %q, want %q", bad.name, stderr, bad.says)
		}
	}
}

// flipped changes the first letter.
func flipped(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func TestWritesAreAcknowledgedWhileWitnessesAreAway(t *testing.T) {
	t.Parallel()
	c := newCosigned(t)
	c.w[0].Kill()
	c.w[1].Kill()
	// A policy of the log's own.
	putFile(t, filepath.Join(c.dir, "logs", "default", "witness-policy.txt"), witnesstest.PolicyText(2, c.w))
	s := c.serve(t)
	appendOne(t, s)
	if got := get(t, s.url+"/readyz"); !strings.Contains(got, "missing: w1, w2") {
		t.Errorf("readyz says %s", got)
	}
	if _, stderr := run(t, 1, "receipt", "0", "--url", s.url); !strings.Contains(stderr, "witnesses have cosigned") {
		t.Errorf("without a checkpoint, receipt says %q", stderr)
	}
	metrics := get(t, s.url+"/metrics")
	for _, want := range []string{
		`stele_log_witnesses_missing{log="default"} 1`,
		`stele_log_published_tree_size{log="default"} 0`,
		fmt.Sprintf(`stele_witness_requests_total{outcome="answered",witness="%s"} `, c.w[2].URL),
		fmt.Sprintf(`stele_log_witness_tree_size{log="default",witness="%s"} `, c.w[2].URL),
		"stele_log_publication_lag_seconds",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	c.w[1].Honest()
	receiptOf(t, s, "0")
	if got := get(t, s.url+"/metrics"); !strings.Contains(got, `stele_log_cosignatures{log="default"} 2`) {
		t.Error("the metrics do not count the cosignatures")
	}
}

func TestOpenModeIsAskedFor(t *testing.T) {
	t.Parallel()
	c := newCosigned(t)
	for _, w := range c.w {
		w.Kill()
	}
	s := c.serve(t, "--witness-policy", c.policy(t, 2), "--witness-policy-mode", "open")
	appendOne(t, s)
	waitFor(t, "a checkpoint of one entry", func() bool {
		return strings.HasPrefix(get(t, s.url+"/logs/default/checkpoint"), cosignedOrigin+"\n1\n")
	})
	run(t, 1, "receipt", "0", "--url", s.url)
}

func TestServeRefusesABadWitnessPolicy(t *testing.T) {
	t.Parallel()
	c := newCosigned(t)
	one := c.w[0].VKeys[0]
	for text, says := range map[string]string{
		"witness a " + one + " http://a\nwitness b " + one + " http://b\ngroup g 2 a b\nquorum g\n": "line 2: witness \"b\" has the same public key",
		"witness a " + one + "\nquorum a\n": "has no URL",
		"witness a " + one + " http://a\n":  "no quorum",
	} {
		file := putFile(t, filepath.Join(t.TempDir(), "policy"), text)
		_, stderr := run(t, 1, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--witness-policy", file)
		if !strings.Contains(stderr, says) {
			t.Errorf("it says %q, want %q", stderr, says)
		}
	}
	_, stderr := run(t, 1, "serve", "--data", t.TempDir(), "--witness-policy-mode", "maybe")
	if !strings.Contains(stderr, "quorum or open") {
		t.Errorf("it says %q", stderr)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestLitewitnessCosignsOurLog has a witness that we did not write cosign the
// log. scripts/litewitness builds it.
func TestLitewitnessCosignsOurLog(t *testing.T) {
	t.Parallel()
	binary := os.Getenv("STELE_TEST_LITEWITNESS")
	if binary == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("STELE_TEST_LITEWITNESS is not set; scripts/litewitness prints what to set it to")
		}
		t.Skip("skipped: STELE_TEST_LITEWITNESS is not set; scripts/litewitness prints what to set it to")
	}
	data := t.TempDir()
	key := putKey(t, data, "default", cosignedOrigin)
	url, witnessKey := startLitewitness(t, binary, cosignedOrigin, key)
	file := putFile(t, filepath.Join(t.TempDir(), "policy.txt"),
		fmt.Sprintf("log %s\nwitness lite %s %s\nquorum lite\n", key, witnessKey, url))
	s := serve(t, "--data", data, "--origin-prefix", "logs.example", "--witness-policy", file)
	for index := range 3 {
		appendOne(t, s)
		receipt, entry := receiptOf(t, s, fmt.Sprint(index))
		stdout, _ := run(t, 0, "verify", "receipt", receipt, "--event", entry, "--policy", file)
		if !strings.Contains(stdout, "cosigned   by lite at 20") {
			t.Errorf("verify prints\n%s", stdout)
		}
	}
	run(t, 0, "check", s.url+"/logs/default", "--policy", file)

	// A server that has forgotten what litewitness knows learns it.
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = serve(t, "--data", data, "--origin-prefix", "logs.example", "--witness-policy", file)
	appendOne(t, s)
	receiptOf(t, s, "3")
}

// startLitewitness runs litewitness, which follows one log, with a key in an
// ssh-agent of its own.
func startLitewitness(t *testing.T, binary, origin, logKey string) (url, vkey string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lw") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, key, db := filepath.Join(dir, "s"), filepath.Join(dir, "key"), filepath.Join(dir, "db")
	tool := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	background(t, exec.Command("ssh-agent", "-D", "-a", socket))
	waitFor(t, "ssh-agent", func() bool { _, err := os.Stat(socket); return err == nil })
	tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	tool("ssh-add", "-q", key)
	fingerprint := strings.Fields(tool("ssh-keygen", "-l", "-f", key))[1]
	tool("sqlite3", db, fmt.Sprintf(`
		CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
		CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
		INSERT INTO log VALUES ('%[1]s', 0, '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=');
		INSERT INTO key VALUES ('%[1]s', '%[2]s');`, origin, logKey))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(binary, "-name", "litewitness.example/w", "-db", db, "-ssh-agent", socket,
		"-key", fingerprint, "-listen", address)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	background(t, cmd)
	said := bufio.NewScanner(stderr)
	for vkey == "" && said.Scan() {
		if m := regexp.MustCompile(`vkey="?([^" ]+)`).FindStringSubmatch(said.Text()); m != nil {
			vkey = m[1]
		}
	}
	go func() {
		for said.Scan() {
		}
	}()
	if vkey == "" {
		t.Fatal("litewitness does not say its key")
	}
	waitFor(t, "litewitness", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return "http://" + address, vkey
}

// background runs a command until the end of the test.
func background(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
