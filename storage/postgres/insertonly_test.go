package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

const (
	denied  = "42501" // insufficient_privilege
	refused = "23001" // restrict_violation, from the triggers
)

// derived are the tables that may change; all others are core.
var derived = []string{"stele.key_runs", "stele.key_pages", "stele.cursors", "stele.leases"}

func TestCoreIsInsertOnly(t *testing.T) {
	t.Parallel()
	url := filled(t)
	for user, role := range map[string]struct{ set, want string }{
		"the server":              {"SET ROLE " + serverRole(t, url), denied},
		"the owner":               {"RESET ROLE", refused},
		"the owner, as a replica": {"SET session_replication_role TO replica", refused},
	} {
		conn := pgtest.Connect(t, url)
		core := tables(t, conn)
		if _, err := conn.Exec(t.Context(), role.set); err != nil {
			t.Fatal(err)
		}
		for _, table := range core {
			if slices.Contains(derived, table.Name) {
				continue
			}
			for _, statement := range []string{
				fmt.Sprintf("UPDATE %s SET %s = %[2]s", table.Name, table.Column),
				fmt.Sprintf("UPDATE %s SET %s = %[2]s WHERE false", table.Name, table.Column),
				"DELETE FROM " + table.Name,
				"TRUNCATE " + table.Name + " CASCADE",
			} {
				if _, err := conn.Exec(t.Context(), statement); !hasCode(err, role.want) {
					t.Errorf("%s as %s: error %v, want SQLSTATE %s", statement, user, err, role.want)
				}
			}
		}
	}
}

// TestUpsertIsRefused tries the other ways to an update.
func TestUpsertIsRefused(t *testing.T) {
	t.Parallel()
	conn := pgtest.Connect(t, filled(t))
	for _, statement := range []string{
		`INSERT INTO stele.heads (log_id, size, base, root, epoch)
		 SELECT log_id, size, base, root, epoch FROM stele.heads
		 ON CONFLICT (log_id, size) DO UPDATE SET root = excluded.root`,
		`MERGE INTO stele.heads h USING stele.heads o ON h.log_id = o.log_id AND h.size = o.size
		 WHEN MATCHED THEN DELETE`,
	} {
		if _, err := conn.Exec(t.Context(), statement); !hasCode(err, refused) {
			t.Errorf("%s: error %v, want SQLSTATE %s", statement, err, refused)
		}
	}
}

func TestServerChangesWhatIsDerivedInOneWayOnly(t *testing.T) {
	t.Parallel()
	url := filled(t)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "SET ROLE "+serverRole(t, url)); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"UPDATE stele.key_pages SET data = data", "TRUNCATE stele.key_pages", "TRUNCATE stele.key_runs CASCADE",
		"DELETE FROM stele.cursors", "TRUNCATE stele.cursors", "DELETE FROM stele.leases", "TRUNCATE stele.leases",
	} {
		if _, err := conn.Exec(t.Context(), statement); !hasCode(err, denied) {
			t.Errorf("%s: error %v, want SQLSTATE %s", statement, err, denied)
		}
	}
	for _, statement := range []string{
		"DELETE FROM stele.key_runs", "DELETE FROM stele.key_pages", "UPDATE stele.cursors SET next = next",
		"UPDATE stele.leases SET epoch = epoch",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestServerLaysItsRightsDown shows that the driver works as the server's role,
// even for a superuser.
func TestServerLaysItsRightsDown(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "REVOKE INSERT ON stele.logs FROM "+serverRole(t, url)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, url).CreateLog(t.Context(), "default", "log.example"); !hasCode(err, denied) {
		t.Errorf("create a log without the right to: error %v, want SQLSTATE %s", err, denied)
	}
}

// serverRole returns the role that servers work as in a database.
func serverRole(t *testing.T, url string) string {
	t.Helper()
	role, err := postgres.Role(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return role
}

type table struct{ Name, Column string }

// tables returns all tables of the schema, each with a column.
func tables(t *testing.T, conn *pgx.Conn) []table {
	t.Helper()
	rows, _ := conn.Query(t.Context(), `
		SELECT c.oid::regclass::text AS name, a.attname::text AS column
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 2
		WHERE c.relnamespace = 'stele'::regnamespace AND c.relkind IN ('r', 'p')`)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[table])
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("the schema has tables %v only", all)
	}
	return all
}

// filled returns the URL of a database with rows in every table.
func filled(t *testing.T) string {
	t.Helper()
	url := pgtest.URL(t)
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300)
	_, err = l.Runs().Secret(t.Context(), "event", storage.Secret{1})
	err = errors.Join(err,
		l.AddCheckpoint(t.Context(), storage.Checkpoint{Size: 300, Note: []byte("note"), Published: time.Now()}),
		l.Runs().Replace(t.Context(), storage.Run{Kind: "event", End: 300, Filter: []byte("filter")},
			slices.Values([]storage.Page{{First: 1, Data: []byte("page")}}),
			&storage.Move{Follower: "made-up", To: storage.Position{Version: 1, Next: 300}}))
	if err != nil {
		t.Fatal(err)
	}
	conn := pgtest.Connect(t, url)
	for _, table := range tables(t, conn) {
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+table.Name).Scan(&n); err != nil || n == 0 {
			t.Fatalf("%s has %d rows, error %v: fill it here", table.Name, n, err)
		}
	}
	return url
}

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
