package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme runs the README's shell blocks, in order, against a server.
func TestReadme(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed: the README's first command cannot be run")
	}
	s := serve(t)
	script := strings.ReplaceAll(strings.Join(blocks(t, "sh"), "\n"), "http://127.0.0.1:8080", s.url)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = t.TempDir()
	if err := os.Symlink(filepath.Join(root, "testdata"), filepath.Join(cmd.Dir, "testdata")); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "STELE_URL="+s.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"receipt":"c2sp.org/tlog-proof@v1`, "duplicate", "verified: entry 0", "checkpoints of its history agree", "has 300 entries"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the README's commands do not print %q:\n%s", want, out)
		}
	}
}

// TestReadmeGoCompiles holds the README's Go against the client's example, which
// the compiler has seen.
func TestReadmeGoCompiles(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../pkg/client/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(t, "go") {
		indented := "\t\t" + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n\t\t")
		if !strings.Contains(strings.ReplaceAll(string(example), "\n\n", "\n\t\t\n"), indented) {
			t.Errorf("this Go is not in pkg/client/example_test.go:\n%s", block)
		}
	}
}

// blocks returns the README's code blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 {
		t.Fatalf("the README has no block of %s", language)
	}
	return found
}
