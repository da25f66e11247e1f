package main_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlaceWithoutALogIsNotHeldAgainstAnybody gives each command that reads a log places
// where there is none.
func TestPlaceWithoutALogIsNotHeldAgainstAnybody(t *testing.T) {
	t.Parallel()
	s := serve(t)
	key := fill(t, s)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>" + strings.Repeat("please sign in ", 100_000)))
	}))
	defer portal.Close()
	dir := t.TempDir()
	for _, place := range []string{s.url + "/logs/nosuch", portal.URL} {
		for _, args := range [][]string{
			{"check", place, "--key", key},
			{"mirror", place, filepath.Join(dir, "copy"), "--key", key, "--once"},
			{"export", "heads", place, "--key", key},
			{"audit", place, "--key", key, "--state", filepath.Join(dir, "state"), "--once", "--interval", "100ms"},
		} {
			run(t, 3, args...)
		}
	}
	run(t, 3, "mirror", filepath.Join(dir, "nosuch"), filepath.Join(dir, "copy"), "--key", key, "--once")
}

// TestPrivateKeyIsNotPrinted gives it where the public one belongs.
func TestPrivateKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	skey := filepath.Join(t.TempDir(), "ed25519.key")
	run(t, 0, "keygen", "example.com/audit", "--out", skey)
	text, err := os.ReadFile(skey)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.SplitN(string(text), "+", 5)[4] // after PRIVATE, KEY, the name and the ID; may have a + in it
	for _, args := range [][]string{
		{"check", "http://127.0.0.1:1/logs/default", "--key", skey},
		{"verify", "receipt", "/dev/null", "--event", "/dev/null", "--key", skey},
	} {
		out, stderr := run(t, 2, args...)
		if !strings.Contains(stderr, "private key") || strings.Contains(out+stderr, secret[:8]) {
			t.Errorf("%s prints %q", args[0], stderr)
		}
	}
}

func TestWitnessThatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nosuch")
	for _, args := range [][]string{{"witness", "pause", "example.com/log", "--data", dir}, {"witness", "list", "--data", dir}} {
		if _, stderr := run(t, 1, args...); !strings.Contains(stderr, "no witness in "+dir) {
			t.Errorf("%v prints %q", args, stderr)
		}
	}
}
