// Package browsertest has a real browser, Chromium, look at pages.
package browsertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Where playwright-core is found, see scripts/browser.
const variable = "STELE_TEST_BROWSER"

// Run runs a script that drives the browser, with arguments, and fails the test if it fails.
// The test is skipped where the browser is not installed.
func Run(t testing.TB, script string, args ...string) {
	t.Helper()
	folder := os.Getenv(variable)
	if folder == "" {
		t.Skipf("%s is not set: scripts/browser installs the browser", variable)
	}
	path, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("node", append([]string{path, folder}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, said)
	}
	if len(said) > 0 {
		t.Logf("%s", said)
	}
}
