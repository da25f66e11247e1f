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
	script := strings.ReplaceAll(strings.Join(blocks(t, "README.md", "sh"), "\n"), "http://127.0.0.1:8080", s.url)
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
	for _, block := range blocks(t, "README.md", "go") {
		indented := "\t\t" + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n\t\t")
		if !strings.Contains(strings.ReplaceAll(string(example), "\n\n", "\n\t\t\n"), indented) {
			t.Errorf("this Go is not in pkg/client/example_test.go:\n%s", block)
		}
	}
}

// TestHTTPPage runs what docs/http.md shows, in each of its languages, against a server.
func TestHTTPPage(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, test := range []struct {
		language, program, file string
		args                    []string
		want                    string
	}{
		{"sh", "bash", "page.sh", []string{"-euo", "pipefail"}, "leaf_hash"},
		{"js", "node", "page.mjs", nil, "c2sp.org/tlog-proof@v1"},
		{"python", "python3", "page.py", nil, "c2sp.org/tlog-proof@v1"},
	} {
		t.Run(test.language, func(t *testing.T) {
			t.Parallel()
			for _, needed := range []string{test.program, "curl"} {
				if _, err := exec.LookPath(needed); err != nil {
					t.Skip(needed + " is not installed")
				}
			}
			text := strings.ReplaceAll(strings.Join(blocks(t, "docs/http.md", test.language), "\n"), "http://127.0.0.1:8080", s.url)
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, test.file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(test.program, append(test.args, test.file)...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), test.want) || regexp.MustCompile(`"status":[45]`).Match(out) {
				t.Errorf("%v, want %q in:\n%s", err, test.want, out)
			}
		})
	}
}

// blocks returns the code blocks of a page that are in a language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return found
}
