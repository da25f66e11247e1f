package logintoken_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-log/stele/internal/logintoken"
)

const server = "https://logs.example.com"

// keep keeps a token in a folder of the test's own, and returns the file.
func keep(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, dir)
	}
	if err := logintoken.Keep(server+"/", "secret"); err != nil {
		t.Fatal(err)
	}
	config, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(config, "stele", "tokens.json")
}

func TestTokenIsKeptForItsServer(t *testing.T) {
	keep(t)
	if got := logintoken.Of(server); got != "secret" {
		t.Errorf("the token is %q", got)
	}
	if got := logintoken.Of("https://other.example.com"); got != "" {
		t.Errorf("another server gets %q", got)
	}
	if err := logintoken.Keep(server, ""); err != nil || logintoken.Of(server) != "" {
		t.Errorf("it is not forgotten: %v", err)
	}
}

func TestTokensAreTheirOwnersAlone(t *testing.T) {
	path := keep(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := logintoken.Of(server); got != "" {
		t.Errorf("a file that others can read gives %q", got)
	}
}

func TestFileOfSomethingElseIsLeftAlone(t *testing.T) {
	path := keep(t)
	for text, want := range map[string]bool{"null": true, "{}": true, "[]": false, "x": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := logintoken.Keep(server, "secret"); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
