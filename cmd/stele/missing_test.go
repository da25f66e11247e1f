package main_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestDeletedEntryIsNotTheEndOfTheLog has a chunk deleted from the middle of a log: readers
// are told that it is damaged.
func TestDeletedEntryIsNotTheEndOfTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		fill(t, s)
		s.end(syscall.SIGTERM)
		db := d.open(t)
		d.dropTriggers(t, db, "chunks")
		d.rewrite(t, db, "DELETE FROM {chunks} WHERE start = 256 AND log_id = {log}")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s = serve(t, d.flags...)
		for path, want := range map[string]int{
			"/events/300": http.StatusInternalServerError, "/tile/entries/001": http.StatusInternalServerError,
			"/events/901": http.StatusNotFound, "/tile/entries/009": http.StatusNotFound, "/events/10": http.StatusOK,
		} {
			resp, err := http.Get(s.url + "/logs/default" + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
			}
		}
		s.end(syscall.SIGTERM)
		if !strings.Contains(s.errs.String(), "something of it is missing") {
			t.Errorf("the server's log does not say so: %s", s.errs.String())
		}
	})
}
