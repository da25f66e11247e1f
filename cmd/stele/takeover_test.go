package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/client"
)

// TestSecondServerNamesTheFirstAndTakesOver runs two servers on one database. The second
// shows which one writes, and writes once that has ended.
func TestSecondServerNamesTheFirstAndTakesOver(t *testing.T) {
	t.Parallel()
	database, one, two := pgtest.URL(t), filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	first := serve(t, "--database", database, "--data", one)
	if _, err := newClient(t, first).Append(t.Context(), client.Event{Type: "a", Source: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(two, os.DirFS(one)); err != nil {
		t.Fatal(err)
	}
	second := serve(t, "--database", database, "--data", two)
	for _, s := range []*served{first, second} {
		if shown, _ := run(t, 0, "logs", "show", "--url", s.url); !strings.Contains(shown, "writer     "+first.url+"\n") {
			t.Errorf("logs show does not name the writer %s:\n%s", first.url, shown)
		}
	}
	if body := get(t, second.url+"/readyz"); !strings.Contains(body, first.url) {
		t.Errorf("readyz does not name the writer %s: %s", first.url, body)
	}
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	results, err := newClient(t, second).Append(t.Context(), client.Event{Type: "a", Source: "test"})
	if err != nil || results[0].Index != 1 {
		t.Errorf("append to the second: %+v, error %v; want index 1", results, err)
	}
	if shown, _ := run(t, 0, "logs", "show", "--url", second.url); !strings.Contains(shown, "writer     "+second.url+"\n") {
		t.Errorf("logs show does not name the writer %s:\n%s", second.url, shown)
	}
}
