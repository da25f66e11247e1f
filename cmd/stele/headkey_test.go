package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLogFromBeforeHeadKeysGoesOn has a log as a program left it before heads had MACs.
func TestLogFromBeforeHeadKeysGoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		key := fill(t, s)
		s.end(syscall.SIGTERM)
		db := d.open(t)
		d.dropTriggers(t, db, "heads")
		if d.url != "" {
			if _, err := db.Exec("ALTER TABLE stele.heads DROP CONSTRAINT heads_mac"); err != nil {
				t.Fatal(err)
			}
		}
		d.rewrite(t, db, "UPDATE {heads} SET mac = NULL WHERE log_id = {log}")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(d.dir, "logs/default/head.key")); err != nil {
			t.Fatal(err)
		}

		s = serve(t, d.flags...)
		run(t, 0, "append", "--url", s.url, putFile(t, filepath.Join(t.TempDir(), "one"), `{"type":"one"}`))
		s.end(syscall.SIGTERM)
		out, _ := run(t, 0, append([]string{"check", "--key", key}, d.flags...)...)
		if !strings.Contains(out, "has 901 entries") || !strings.Contains(out, "head.key") {
			t.Errorf("check prints %q", out)
		}
	})
}
