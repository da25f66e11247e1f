package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/internal/test/pgproxy"
	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

// sessions is how many a pooler has in these tests: fewer than a Store has connections.
const sessions = 8

func TestStoreBehindAPooler(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) func(*testing.T) storage.Store {
		url := pgproxy.Pooler(t, pgtest.URL(t), sessions)
		return func(t *testing.T) storage.Store { return open(t, url) }
	})
}

// TestPoolersSessionsAreLeftAsTheyWere: what other clients of a pooler find in its sessions
// is not what the driver would set in its own.
func TestPoolersSessionsAreLeftAsTheyWere(t *testing.T) {
	t.Parallel()
	url := pgproxy.Pooler(t, pgtest.URL(t), sessions)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300, 5)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	other, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	for range sessions {
		var role, path, commit string
		err := other.QueryRow(t.Context(), `SELECT current_setting('role'), current_setting('search_path'),
			current_setting('synchronous_commit')`).Scan(&role, &path, &commit)
		if got := fmt.Sprint(role, " ", path, " ", commit); err != nil || got != `none "$user", public on` {
			t.Errorf("a session has role, search_path and synchronous_commit %s, error %v", got, err)
		}
	}
}

func TestPoolerIsRefusedWithWhatIsMissing(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	conn := pgtest.Connect(t, database)
	var role string
	err := conn.QueryRow(t.Context(), "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'stele.key_pages'::regclass").Scan(&role)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ who, setUp, want string }{
		{"stranger", "", "GRANT %[2]s TO"},
		{"heir", "ALTER ROLE %[1]s NOINHERIT; GRANT %[2]s TO %[1]s", "ALTER ROLE %[1]s INHERIT"},
		{"repeater", "GRANT %[2]s TO %[1]s; ALTER ROLE %[1]s SET default_transaction_isolation TO 'repeatable read'",
			"ALTER ROLE %[1]s SET default_transaction_isolation"},
	} {
		user := newUser(t, database)
		if test.setUp != "" {
			if _, err := conn.Exec(t.Context(), fmt.Sprintf(test.setUp, user, role)); err != nil {
				t.Fatal(err)
			}
		}
		url := pgproxy.Pooler(t, pgtest.WithUser(t, database, user), 1)
		s, err := postgres.Open(t.Context(), url)
		if err == nil {
			s.Close()
		}
		want := strings.NewReplacer("%[1]s", user, "%[2]s", role).Replace(test.want)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open as a %s: error %v, want what to do: %s", test.who, err, want)
		}
	}
}

// TestFewSessionsAreShared opens a store behind poolers in session mode that have fewer
// sessions than a store takes.
func TestFewSessionsAreShared(t *testing.T) {
	t.Parallel()
	for _, sessions := range []int{4, 6} {
		url := pgproxy.SessionPooler(t, pgtest.URL(t), sessions)
		s := open(t, url)
		if got := s.Connections().Max; got != sessions {
			t.Errorf("with %d sessions the store takes %d", sessions, got)
		}
		l, err := s.CreateLog(t.Context(), "default", "log.example")
		if err != nil {
			t.Fatal(err)
		}
		storagetest.Grow(t, l, 300)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				ctx := storage.InLane(t.Context(), storage.Lane(i%storage.Lanes))
				if head, err := l.Head(ctx); err != nil || head.Size != 300 {
					t.Errorf("lane %d: %v, %v", i%storage.Lanes, head, err)
				}
			})
		}
		all.Wait()
	}
	_, err := postgres.Open(t.Context(), pgproxy.SessionPooler(t, pgtest.URL(t), 3))
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "default_pool_size") {
		t.Errorf("with 3 sessions: %v", err)
	}
}
