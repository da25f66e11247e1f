package engine_test

import (
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgproxy"
	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage/postgres"
)

// TestStoppingDoesNotWaitForADatabaseThatHangs has a database hang while events wait to be
// committed and a head to be published.
func TestStoppingDoesNotWaitForADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.URL(t))
	store, err := postgres.Open(t.Context(), proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, store, t.TempDir())
	l := r.create(t, "one")
	appendTo(t, l, 0, 300)
	proxy.Stall()
	if _, err := l.Sequencer.Submit(t.Context(), events(t, 300, 10)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.stop()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}
