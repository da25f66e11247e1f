package main_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/sqlite"
	"github.com/stele-log/stele/storage/storagetest"
)

// store opens the database behind the server's back.
func (d database) store(t *testing.T) storage.Store {
	t.Helper()
	var s storage.Store
	var err error
	if d.url != "" {
		s, err = postgres.Open(t.Context(), d.url)
	} else {
		s, err = sqlite.Open(t.Context(), filepath.Join(d.dir, "stele.db"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestCheckReadsADatabase checks a log with and without its server, as it does
// over HTTP, and then with entries that are not published.
func TestCheckReadsADatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		key := fill(t, s)
		args := append([]string{"check", "--json", "--key", key}, d.flags...)
		checked := func(args ...string) (report map[string]any) {
			t.Helper()
			out, _ := run(t, 0, args...)
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatalf("check prints %q: %v", out, err)
			}
			delete(report, "seconds")
			return report
		}
		want := checked("check", "--json", "--key", key, s.url+"/logs/default")
		same := func(got map[string]any) bool {
			return got["origin"] == want["origin"] && got["size"] == want["size"] && got["root"] == want["root"] && got["history"] == want["history"]
		}
		if got := checked(args...); want["size"] != 900.0 || want["history"] == 0.0 || !same(got) || got["unpublished"] != nil {
			t.Errorf("checked in the database: %v, over HTTP: %v", got, want)
		}
		if _, err := newClient(t, s).WithReceipts().Append(t.Context(), client.Event{Type: "later"}); err != nil {
			t.Fatalf("after a check beside it, the server does not append: %v", err)
		}
		want = checked("check", "--json", "--key", key, s.url+"/logs/default")
		s.end(syscall.SIGTERM)
		if got := checked(args...); !same(got) {
			t.Errorf("checked without a server: %v, with one: %v", got, want)
		}

		l, err := d.store(t).OpenLog(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		if l, err = engine.OpenHeads(t.Context(), d.dir, l); err != nil {
			t.Fatal(err)
		}
		storagetest.Grow(t, l, 400)
		if got := checked(args...); !same(got) || got["unpublished"] != 400.0 {
			t.Errorf("with entries that are not published: %v", got)
		}
		if out, _ := run(t, 0, append([]string{"check", "--key", key}, d.flags...)...); !strings.Contains(out, "400 newer entries agree with the newest head") {
			t.Errorf("with entries that are not published, check prints %q", out)
		}
		for _, test := range []struct {
			status int
			args   []string
			want   string
		}{
			{3, []string{"--log", "other"}, `open log "other": not found`},
			{2, []string{"http://127.0.0.1:1/logs/default"}, "give one of them"},
			{2, []string{"--key", "nothing"}, "neither a verifier key"},
		} {
			test.args = slices.Concat(args, test.args)
			if _, stderr := run(t, test.status, test.args...); !strings.Contains(stderr, test.want) {
				t.Errorf("stele %s says %q, want %q", strings.Join(test.args, " "), stderr, test.want)
			}
		}
	})
}

func TestCheckSaysThatThereIsNoDatabase(t *testing.T) {
	t.Parallel()
	key := "../../testdata/log-300.vkey"
	if _, stderr := run(t, 3, "check", "--key", key, "--data", t.TempDir()); !strings.Contains(stderr, "Give a log's URL or folder") {
		t.Errorf("check says %q", stderr)
	}
	if _, stderr := run(t, 2, "check", "--key", key, "--database", "mysql://x"); !strings.Contains(stderr, "not a postgres:// URL") {
		t.Errorf("check says %q", stderr)
	}
}
