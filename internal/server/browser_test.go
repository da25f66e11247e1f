package server_test

import (
	"log/slog"
	"testing"

	"github.com/stele-log/stele/internal/test/browsertest"
	"github.com/stele-log/stele/internal/test/dbtest"
)

// TestPeopleSignInWithABrowser has Chromium sign in, with a provider that others wrote and
// with a key.
func TestPeopleSignInWithABrowser(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	r.issue()
	r.grant("corp:groups=audit", "auditor", "*", "")
	key := r.key("billing", "writer", "default", "", nil)
	browsertest.Run(t, "testdata/signin.mjs", r.url, key, t.ArtifactDir())
}
