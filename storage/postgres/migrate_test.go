package postgres_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

func TestMigrateTwiceIsOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	newest, err := migrations.Postgres.Newest()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{0, newest, newest} {
		from, to, err := postgres.Migrate(t.Context(), url)
		if err != nil || from != want || to != newest {
			t.Fatalf("migrated from %d to %d, error %v; want from %d to %d", from, to, err, want, newest)
		}
	}
	open(t, url)
}

func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, _, err := postgres.Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	open(t, url)
}

func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	old, newer := pgtest.URL(t), pgtest.URL(t)
	pgtest.Tamper(t, old, "stele.migrations", "DELETE FROM stele.migrations WHERE version_id > 0")
	pgtest.Tamper(t, newer, "stele.migrations", "INSERT INTO stele.migrations (version_id, is_applied) VALUES (9999, true)")
	stranger := newUser(t, newer)
	for name, test := range map[string]struct{ url, want string }{
		"empty":                    {pgtest.Empty(t), "run stele migrate"},
		"old":                      {old, "run stele migrate"},
		"newer":                    {newer, "run a newer stele"},
		"of a user without rights": {pgtest.WithUser(t, newer, stranger), "GRANT stele_server TO " + stranger},
		"absent":                   {"postgres:///?host=/nonexistent", "/nonexistent"},
		"not a URL":                {"postgres://%", "cannot parse"},
	} {
		s, err := postgres.Open(t.Context(), test.url)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("open a database that is %s: error %v, want one with %q", name, err, test.want)
		}
	}
	if _, _, err := postgres.Migrate(t.Context(), newer); err == nil || !strings.Contains(err.Error(), "run a newer stele") {
		t.Errorf("migrate a newer database: error %v", err)
	}
}

// TestRights tries the users that docs name: one who migrates, without being a
// superuser, and one who serves without owning anything.
func TestRights(t *testing.T) {
	t.Parallel()
	pgtest.URL(t) // so that the role stele_server is there
	url := pgtest.Empty(t)
	owner, server := newUser(t, url), newUser(t, url)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO "+owner+"', current_database()); END $$"); err != nil {
		t.Fatal(err)
	}
	_, _, err := postgres.Migrate(t.Context(), pgtest.WithUser(t, url, owner))
	if want := "GRANT stele_server TO " + owner; err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("migrate as a user without the role: error %v, want one with %q", err, want)
	}
	if _, err := conn.Exec(t.Context(), "GRANT stele_server TO "+owner+", "+server); err != nil {
		t.Fatal(err)
	}
	if _, _, err := postgres.Migrate(t.Context(), pgtest.WithUser(t, url, owner)); err != nil {
		t.Fatal(err)
	}
	l, err := open(t, pgtest.WithUser(t, url, server)).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300)
}

// newUser makes a role of the cluster, to the end of the test.
func newUser(t *testing.T, url string) string {
	t.Helper()
	name := "stele_test_" + strings.ToLower(rand.Text())
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+name+" LOGIN"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name); err != nil {
			t.Error(err)
		}
	})
	return name
}
