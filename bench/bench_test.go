package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain is also the servers, which this program starts as itself.
func TestMain(m *testing.M) {
	if isServer(os.Args[1:]) {
		if err := serve(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestQuick measures everything that there is a database for, briefly. Which
// databases there are is in STELE_TEST_POSTGRES.
func TestQuick(t *testing.T) {
	args := []string{"-quick", "-out", filepath.Join(t.TempDir(), "page.md"), "-json", filepath.Join(t.TempDir(), "all.json")}
	rows := []string{"SQLite, in process"}
	if cluster := os.Getenv("STELE_TEST_POSTGRES"); cluster != "" {
		args = append(args, "-postgres", cluster, "-stele", buildStele(t), "-trillian-schema", trillianSchema(t))
		rows = append(rows, "batches of 4096, against CopyFrom", "4 streams, against CopyFrom", "from line to result", "against the empty handler", "256 clients by gRPC",
			"a lone sequential writer", "inclusion proofs", "stele check", "bytes in the database", "resident memory", "random ids")
	}
	var page, progress bytes.Buffer
	if err := run(t.Context(), args, &page, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, row := range rows {
		if !strings.Contains(page.String(), row) {
			t.Errorf("there is no row of %q in\n%s", row, page.String())
		}
	}
	for i := range 2 {
		if info, err := os.Stat(args[2+2*i]); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", args[1+2*i], err)
		}
	}
}

func TestRunSelectsRows(t *testing.T) {
	var page, progress bytes.Buffer
	err := run(t.Context(), []string{"-quick", "-run", "^no such row$"}, &page, &progress)
	if err != nil || progress.Len() > 0 {
		t.Errorf("%v\n%s", err, progress.String())
	}
}

func trillianSchema(t *testing.T) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/trillian").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "storage/postgresql/schema/storage.sql")
}

func buildStele(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "stele")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/stele")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}
