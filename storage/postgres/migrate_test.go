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
)

func TestMigrateTwiceIsOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	newest, err := migrations.Postgres.Newest()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{0, newest, newest} {
		from, to, err := postgres.Migrate(t.Context(), url, "")
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
			if _, _, err := postgres.Migrate(t.Context(), url, ""); err != nil {
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
		"of a user without rights": {pgtest.WithUser(t, newer, stranger), "GRANT " + serverRole(t, newer) + " TO " + stranger},
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
	if _, _, err := postgres.Migrate(t.Context(), newer, ""); err == nil || !strings.Contains(err.Error(), "run a newer stele") {
		t.Errorf("migrate a newer database: error %v", err)
	}
}

// newUser makes a role of the cluster, to the end of the test.
func newUser(t *testing.T, url string, attributes ...string) string {
	t.Helper()
	name := "stele_test_" + strings.ToLower(rand.Text())
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+name+" LOGIN "+strings.Join(attributes, " ")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name); err != nil {
			t.Error(err)
		}
	})
	return name
}
