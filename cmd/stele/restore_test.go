package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// lose returns the database after its content was lost: keys and records, in
// the data folder, are still there.
func (d database) lose(t *testing.T) database {
	t.Helper()
	if d.url != "" {
		d.url = pgtest.Empty(t)
		d.flags = []string{"--data", d.dir, "--database", d.url}
		return d
	}
	paths, err := filepath.Glob(filepath.Join(d.dir, "stele.db*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no database in %s (%v)", d.dir, err)
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// save writes a receipt and its entry to a folder, and returns the arguments
// that verify it.
func save(t *testing.T, c *client.Client, index uint64) []string {
	t.Helper()
	entry, err := c.Entry(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := c.Receipt(t.Context(), index, true)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"entry.json": entry, "receipt": receipt} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"verify", "receipt", filepath.Join(dir, "receipt"), "--event", filepath.Join(dir, "entry.json")}
}

// TestRestoredLogGoesOn kills a server, loses its database, and rebuilds the log
// from a mirror.
func TestRestoredLogGoesOn(t *testing.T) {
	for _, history := range []string{"without the history", "with the history"} {
		t.Run(history, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				dir, archive := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "all.heads")
				s := serve(t, d.flags...)
				key := fill(t, s)
				old := save(t, newClient(t, s), 300)
				run(t, 0, "mirror", s.url+"/logs/default", dir, "--key", key, "--once")
				run(t, 0, "check", dir, "--key", key)
				run(t, 0, "export", "heads", s.url+"/logs/default", "--key", key, "-o", archive)
				s.end(syscall.SIGKILL)

				d = d.lose(t)
				args := append([]string{"restore", dir, "--log", "default", "--key", key, "--json"}, d.flags...)
				want := 1
				if history == "with the history" {
					args = append(args, "--heads", archive)
					want = 5 // of the sizes 0, 256, 512, 768 and 900
				}
				out, _ := run(t, 0, args...)
				var report struct{ Size, Added, Checkpoints int }
				if err := json.Unmarshal([]byte(out), &report); err != nil || report.Size != 900 || report.Added != 900 || report.Checkpoints != want {
					t.Fatalf("restore says %s, %v; want %d checkpoints", out, err, want)
				}
				// Once more changes nothing.
				out, _ = run(t, 0, args...)
				if !strings.Contains(out, fmt.Sprintf(`"added":0,"checkpoints":%d,`, want)) {
					t.Errorf("restore, once more, says %s", out)
				}
				s = serve(t, d.flags...)
				goesOn(t, s, dir, key, 900)
				run(t, 0, append(old, "--key", key)...)
			})
		})
	}
}

// goesOn fails the test unless a restored log of size events deduplicates, gives
// the next indexes, is whole, and is followed by its mirror.
func goesOn(t *testing.T, s *served, dir, key string, size uint64) {
	t.Helper()
	c := newClient(t, s)
	entry, err := c.Entry(t.Context(), 44)
	if err != nil {
		t.Fatal(err)
	}
	old, err := event.Decode(entry)
	if err != nil {
		t.Fatal(err)
	}
	results, err := c.WithReceipts().AppendJSON(t.Context(), old.Received(), []byte(`{"type":"new","id":"new","source":"test"}`))
	if err != nil {
		t.Fatal(err)
	}
	if !results[0].Duplicate || results[0].Index != 44 || results[0].LeafHash != tree.LeafHash(entry) ||
		results[1].Duplicate || results[1].Index != size {
		t.Errorf("an old and a new event are answered with %+v", results)
	}
	run(t, 0, append(save(t, c, size), "--key", key)...)
	run(t, 0, "check", c.Prefix(), "--key", key)
	run(t, 0, "mirror", c.Prefix(), dir, "--key", key, "--once")
	out, _ := run(t, 0, "check", dir, "--key", key)
	if !strings.Contains(out, fmt.Sprintf("has %d entries", size+1)) {
		t.Errorf("check says %q of the mirror", out)
	}
}

func TestRestoreRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		dir, archive := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "all.heads")
		s := serve(t, d.flags...)
		key := fill(t, s)
		c := newClient(t, s)
		run(t, 0, "mirror", c.Prefix(), dir, "--key", key, "--once")
		restore := append([]string{"restore", dir, "--log", "default", "--key", key}, d.flags...)
		refused := func(want string, args ...string) {
			t.Helper()
			if _, stderr := run(t, 1, args...); !strings.Contains(stderr, want) {
				t.Errorf("restore says %q, want %q", stderr, want)
			}
		}
		refused("another server uses the data folder", restore...)

		// The log goes on after the mirror's last look.
		if _, err := c.WithReceipts().Append(t.Context(), client.Event{Type: "later"}); err != nil {
			t.Fatal(err)
		}
		run(t, 0, "export", "heads", c.Prefix(), "--key", key, "-o", archive)
		s.end(syscall.SIGKILL)
		refused("Find a copy with at least 901 entries", restore...)
		signed := filepath.Join(d.dir, "logs/default/signed.checkpoint")
		if err := os.Rename(signed, signed+".lost"); err != nil {
			t.Fatal(err)
		}
		refused("the copy lacks entries that were signed", append(restore, "--heads", archive)...)
		refused("exists already, and has 901 entries", restore...)

		d = d.lose(t)
		restore = append([]string{"restore", dir, "--log", "default", "--key", key}, d.flags...)
		skey := filepath.Join(d.dir, "logs/default/ed25519.key")
		if err := os.Rename(skey, skey+".lost"); err != nil {
			t.Fatal(err)
		}
		refused("put back the data folder's backup", restore...)
		if err := os.Rename(skey+".lost", skey); err != nil {
			t.Fatal(err)
		}
		flip := filepath.Join(dir, "tile/entries/001")
		b, err := os.ReadFile(flip)
		if err != nil {
			t.Fatal(err)
		}
		b[100] ^= 1
		if err := os.WriteFile(flip, b, 0o600); err != nil {
			t.Fatal(err)
		}
		refused("the copy is not whole", restore...)
		refused("a log's name is", "restore", dir, "--log", "../x", "--key", key, "--data", d.dir)
	})
}
