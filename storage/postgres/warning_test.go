package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestWarningMakesACommitUncertain has the database warn when a transaction that writes
// to a table ends. So it does when somebody cancels a commit that waits for a synchronous
// standby: then the standby may lack what was committed.
func TestWarningMakesACommitUncertain(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 10)
	conn := pgtest.Connect(t, url)
	_, err = conn.Exec(t.Context(), `
		CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE WARNING 'canceling wait for synchronous replication'; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON stele.heads DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION public.warn();
		CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON stele.checkpoints DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION public.warn();
		CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON stele.epochs DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION public.warn();
		CREATE FUNCTION public.quietly() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN EXECUTE format('ALTER DATABASE %I SET client_min_messages TO error', current_database()); END $$;
		SELECT public.quietly()`)
	if err != nil {
		t.Fatal(err)
	}
	// A store of its own has sessions that begin with the setting above.
	s := open(t, url)
	if l, err = s.OpenLog(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	uncertain := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "unknown") || errors.Is(err, storage.ErrStale) {
			t.Errorf("%s: error %v, want that the outcome is unknown", what, err)
		}
	}
	_, err = s.CreateLog(t.Context(), "two", "log.example/two")
	uncertain("CreateLog", err)
	uncertain("AddCheckpoint", l.AddCheckpoint(t.Context(), storage.Checkpoint{Size: 10, Note: []byte("note"), Published: time.Now()}))
	_, err = l.Lead(t.Context(), "http://here")
	uncertain("Lead", err)
	if _, err := conn.Exec(t.Context(), "DROP TRIGGER warn ON stele.epochs"); err != nil {
		t.Fatal(err)
	}
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	var f tree.Frontier
	storagetest.Batch(t, 0, &f, storagetest.Entries(0, 10))
	uncertain("Commit", l.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), &f, storagetest.Entries(10, 300))))
	if head, err := l.Head(t.Context()); err != nil || head.Head != f.Head() {
		t.Errorf("head %v, error %v; want that of the commit, %v", head, err, f.Head())
	}
}
