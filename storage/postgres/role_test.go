package postgres_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/pressly/goose/v3"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestHintsWorkAsTheyArePrinted migrates as a user who has no rights, and does what the
// errors say as the roles that they name, none of them a superuser.
func TestHintsWorkAsTheyArePrinted(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	owner, server, creator := newUser(t, url), newUser(t, url), newUser(t, url, "CREATEROLE")
	as := func(user string) string { return pgtest.WithUser(t, url, user) }
	super := pgtest.Connect(t, url)
	for _, step := range []struct{ whose, url string }{
		{"the owner of the database", url},
		{"a role that may create roles", as(creator)},
	} {
		_, _, err := postgres.Migrate(t.Context(), as(owner), "")
		if err == nil {
			t.Fatalf("migrated without what %s can grant", step.whose)
		}
		_, hint, ok := strings.Cut(err.Error(), "As "+step.whose+", run: ")
		if !ok {
			t.Fatalf("migrate as %s: error %v, want a hint for %s", owner, err, step.whose)
		}
		var left int
		if err := super.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'stele'").Scan(&left); err != nil || left > 0 {
			t.Errorf("a migration that was refused has left the schema (%v)", err)
		}
		if _, err := pgtest.Connect(t, step.url).Exec(t.Context(), hint); err != nil {
			t.Fatalf("%s, as %s: %v", hint, step.whose, err)
		}
	}
	if _, _, err := postgres.Migrate(t.Context(), as(owner), ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := postgres.Open(t.Context(), as(server))
		if err == nil {
			s.Close()
			break
		}
		_, hint, _ := strings.Cut(err.Error(), "or as the user who ran stele migrate, run: ")
		hint, _, _ = strings.Cut(hint, ":")
		if _, err := pgtest.Connect(t, as(owner)).Exec(t.Context(), hint); err != nil {
			t.Fatalf("%q, as the owner: %v", hint, err)
		}
	}
	if _, _, err := postgres.Migrate(t.Context(), as(server), ""); err != nil {
		t.Errorf("migrate as the server's user, with nothing to do: %v", err)
	}
	l, err := open(t, as(server)).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300)
}

// TestRoleOfOneDatabaseHasNoRightsInAnother tries, as the server of one database, what it
// may do there, in another.
func TestRoleOfOneDatabaseHasNoRightsInAnother(t *testing.T) {
	t.Parallel()
	mine, other := pgtest.Empty(t), filled(t)
	if _, _, err := postgres.Migrate(t.Context(), mine, ""); err != nil {
		t.Fatal(err)
	}
	tenant := newUser(t, mine)
	if _, err := pgtest.Connect(t, mine).Exec(t.Context(), "GRANT "+serverRole(t, mine)+" TO "+tenant); err != nil {
		t.Fatal(err)
	}
	open(t, pgtest.WithUser(t, mine, tenant))
	conn := pgtest.Connect(t, pgtest.WithUser(t, other, tenant))
	for _, statement := range []string{
		"SELECT count(*) FROM stele.chunks",
		"INSERT INTO stele.logs (name, origin) VALUES ('intruder', 'intruder/x')",
		"INSERT INTO stele.epochs (log_id, epoch, holder) SELECT log_id, 1000, 'b' FROM stele.logs",
	} {
		if _, err := conn.Exec(t.Context(), statement); !hasCode(err, denied) {
			t.Errorf("%s: error %v, want SQLSTATE %s", statement, err, denied)
		}
	}
}

func TestRoleIsChosenOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	chosen := newUser(t, url)
	for role, want := range map[string]string{
		"a-b":      "a role's name must be",
		"1a":       "a role's name must be",
		"postgres": "choose another with --role",
	} {
		if _, _, err := postgres.Migrate(t.Context(), url, role); err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("migrate with the role %q: error %v, want one with %q", role, err, want)
		}
	}
	for _, role := range []string{chosen, chosen, ""} {
		if _, _, err := postgres.Migrate(t.Context(), url, role); err != nil {
			t.Fatalf("migrate with the role %q: %v", role, err)
		}
		if got := serverRole(t, url); got != chosen {
			t.Fatalf("the role is %s, want %s", got, chosen)
		}
	}
	if _, _, err := postgres.Migrate(t.Context(), url, "another"); err == nil || !strings.Contains(err.Error(), "cannot be changed") {
		t.Errorf("migrate with another role: error %v", err)
	}
}

// TestUpgradeLeavesTheSharedRole migrates a database whose servers work as a role that
// other databases have as well.
func TestUpgradeLeavesTheSharedRole(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	const lastShared = 8
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE SCHEMA stele"); err != nil {
		t.Fatal(err)
	}
	old, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Postgres.Files(), goose.WithTableName("stele.migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.UpTo(t.Context(), lastShared); err != nil {
		t.Fatal(err)
	}
	if got := serverRole(t, url); got != "stele_server" {
		t.Fatalf("the role is %s before", got)
	}
	tenant := newUser(t, url)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "GRANT stele_server TO "+tenant); err != nil {
		t.Fatal(err)
	}
	if _, _, err := postgres.Migrate(t.Context(), url, ""); err != nil {
		t.Fatal(err)
	}
	if role := serverRole(t, url); role == "stele_server" {
		t.Errorf("the role is still %s", role)
	}
	if _, err := pgtest.Connect(t, pgtest.WithUser(t, url, tenant)).Exec(t.Context(), "SELECT FROM stele.logs"); !hasCode(err, denied) {
		t.Errorf("read as a member of the shared role: error %v, want SQLSTATE %s", err, denied)
	}
	var left int
	err = conn.QueryRow(t.Context(), `
		SELECT count(*) FROM pg_class, aclexplode(relacl)
		WHERE relnamespace = 'stele'::regnamespace AND grantee = 'stele_server'::regrole`).Scan(&left)
	if err != nil || left > 0 {
		t.Errorf("the shared role keeps %d rights (%v)", left, err)
	}
	l, err := open(t, url).CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Grow(t, l, 300)
}
