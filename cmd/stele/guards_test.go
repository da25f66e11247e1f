package main_test

import (
	"strings"
	"syscall"
	"testing"
)

// TestGuardsTakenOffAreSaid takes the triggers off a table, as the database's owner can:
// check, the server's log, readyz and the metrics have it.
func TestGuardsTakenOffAreSaid(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		key := fill(t, s)
		check := append([]string{"check", "--key", key}, d.flags...)
		said := func(checked, ready, metric string) {
			t.Helper()
			if out, _ := run(t, 0, check...); !strings.Contains(out, checked) {
				t.Errorf("check prints %q, want %q", out, checked)
			}
			if got := get(t, s.url+"/readyz"); !strings.Contains(got, ready) {
				t.Errorf("readyz says %s, want %s", got, ready)
			}
			if got := get(t, s.url+"/metrics"); !strings.Contains(got, "\n"+metric) {
				t.Errorf("there is no metric %q", metric)
			}
		}
		said("the database's guards are present", `"guards":"present"`, "stele_guards_missing 0")
		s.end(syscall.SIGTERM)
		db := d.open(t)
		defer db.Close()
		d.dropTriggers(t, db, "heads")
		s = serve(t, d.flags...)
		said("guards are MISSING or changed:\n    the ", `"guards":"missing"`, "stele_guards_missing ")
		if got := get(t, s.url+"/metrics"); strings.Contains(got, "\nstele_guards_missing 0") {
			t.Error("the metric says that no guard is missing")
		}
	})
}
