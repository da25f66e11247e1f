package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestLeaseIsLostWithItsSession ends the session of a holder, as a restart of
// the database does, and has another take over.
func TestLeaseIsLostWithItsSession(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	lost, err := l.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var f tree.Frontier
	if err := l.Commit(t.Context(), storagetest.Batch(t, lost.Epoch(), &f, storagetest.Entries(0, 300))); err != nil {
		t.Fatal(err)
	}
	killed := 0
	err = pgtest.Connect(t, url).QueryRow(t.Context(), `
		SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND d.datname = current_database()`).Scan(&killed)
	if err != nil || killed != 1 {
		t.Fatalf("%d sessions held an advisory lock, error %v; want 1", killed, err)
	}
	<-lost.Lost()
	next, err := l.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Release()
	late := storagetest.Batch(t, lost.Epoch(), f.Clone(), storagetest.Entries(300, 1))
	if err := l.Commit(t.Context(), late); !errors.Is(err, storage.ErrFenced) {
		t.Errorf("commit under the lost lease: error %v, want %q", err, storage.ErrFenced)
	}
	lost.Release()
	if err := l.Commit(t.Context(), storagetest.Batch(t, next.Epoch(), &f, storagetest.Entries(300, 1))); err != nil {
		t.Error(err)
	}
	storagetest.Check(t, l)
}

// TestLeaseOutlivesItsPings waits for longer than a ping is due.
func TestLeaseOutlivesItsPings(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 6 s")
	}
	l, err := open(t, pgtest.URL(t)).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := l.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	select {
	case <-lease.Lost():
		t.Fatal("an idle lease is lost")
	case <-time.After(6 * time.Second):
	}
	if _, err := l.Lead(t.Context()); !errors.Is(err, storage.ErrLeased) {
		t.Errorf("lead a log that is led: error %v, want %q", err, storage.ErrLeased)
	}
}

// TestLeadWaitsForCommitsUnderWay stalls a commit between its check of the
// epoch and its end: the next epoch may not begin until then.
func TestLeadWaitsForCommitsUnderWay(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := l.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stalled := pgtest.Connect(t, url)
	_, err = stalled.Exec(t.Context(), `
		BEGIN;
		INSERT INTO stele.chunks (log_id, start, count, data) SELECT log_id, 0, 1, 'data' FROM stele.logs;
		INSERT INTO stele.heads (log_id, size, base, root, epoch) SELECT log_id, 1, 0, sha256('root'), 1 FROM stele.logs`)
	if err != nil {
		t.Fatal(err)
	}
	lease.Release()
	led := make(chan error, 1)
	go func() {
		next, err := l.Lead(t.Context())
		if err == nil {
			next.Release()
		}
		led <- err
	}()
	select {
	case err := <-led:
		t.Fatalf("a new epoch has begun, error %v, while a commit of the old one was under way", err)
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := stalled.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-led; err != nil {
		t.Fatal(err)
	}
	if head, err := l.Head(t.Context()); err != nil || head.Size != 1 {
		t.Errorf("head %v, error %v; want the commit's", head, err)
	}
}
