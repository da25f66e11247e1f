package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
)

// TestCommandsSayWhyAStoreCannotBeOpened has each command that opens a database find
// none that it can open: it exits with one line that tells why.
func TestCommandsSayWhyAStoreCannotBeOpened(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.Mkdir(garbage, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stele.db", "witness.db"} {
		if err := os.WriteFile(filepath.Join(garbage, name), []byte(strings.Repeat("garbage ", 512)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh := func() string { return "--data=" + t.TempDir() }
	away := "--database=postgres://u@127.0.0.1:1/db"
	serve := []string{"serve", "--listen=127.0.0.1:0"}
	witness := []string{"witness", "serve", "--listen=127.0.0.1:0", "--name=w"}
	check := []string{"check", "--key=../../testdata/log-300.vkey"}
	for _, test := range []struct {
		args []string
		want string
	}{
		{append(serve, "--migrate=false", fresh()), "run stele migrate"},
		{append(serve, "--migrate=false", fresh(), away), "connect"},
		{append(serve, "--migrate=false", "--data="+garbage), "not a database"},
		{append(serve, fresh(), away), "connect"},
		{append(serve, "--data="+garbage), "not a database"},
		{[]string{"migrate", away}, "connect"},
		{[]string{"migrate", "--data=" + garbage}, "not a database"},
		{append(check, away), "connect"},
		{append(check, "--data="+garbage), "not a database"},
		{append(witness, fresh(), away), "connect"},
		{append(witness, "--data="+garbage), "not a database"},
	} {
		status, lines := 1, 1
		if test.args[0] == "check" {
			status, lines = 3, 2 // a verdict, and perhaps what to do
		}
		_, stderr := run(t, status, test.args...)
		if !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") > lines {
			t.Errorf("stele %s: it says %q, want %q", strings.Join(test.args, " "), stderr, test.want)
		}
	}
}

func TestMigrateOfPostgresNeedsNoFolder(t *testing.T) {
	t.Parallel()
	cmd := stele(t, "migrate", "--database", pgtest.Empty(t))
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("migrate left %v, %v", left, err)
	}
}

// TestPoolersWillDo reaches the database through a pooler, and with the parameters of
// pools in the URL, which the database itself would refuse.
func TestPoolersWillDo(t *testing.T) {
	t.Parallel()
	url := pgtest.Pooler(t, pgtest.Empty(t)) + "&pool_max_conns=20"
	run(t, 0, "migrate", "--database", url)
	s := serve(t, "--data", t.TempDir(), "--database", url)
	fill(t, s)
	w := serveWitness(t, "--data", t.TempDir(), "--database", url)
	resp, err := http.Get(w.url + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the witness's healthz: %v, %v", resp, err)
	}
	resp.Body.Close()
}
