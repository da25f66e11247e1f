package postgres_test

import (
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
)

// TestGuardsAreThoseOfTheMigrations fails if a migration changes a guard and guards.txt
// is not changed with it: what is printed is how a line of it must be.
func TestGuardsAreThoseOfTheMigrations(t *testing.T) {
	t.Parallel()
	url := filled(t)
	guards, err := open(t, url).Guards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range guards.Missing {
		t.Error(what)
	}
	if want := "user postgres is a superuser"; guards.Excess != want {
		t.Errorf("as a superuser: %q, want %q", guards.Excess, want)
	}
}

func TestUsersWhoCouldTakeGuardsOff(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	server, owner := newUser(t, url), newUser(t, url)
	conn := pgtest.Connect(t, url)
	for _, statement := range []string{
		"GRANT " + serverRole(t, url) + " TO " + server + ", " + owner,
		"ALTER SCHEMA stele OWNER TO " + owner,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[string]string{server: "", owner: "user " + owner + " owns the schema, or may act as its owner"} {
		guards, err := open(t, pgtest.WithUser(t, url, user)).Guards(t.Context())
		if err != nil || guards.Excess != want {
			t.Errorf("as %s: %q, error %v, want %q", user, guards.Excess, err, want)
		}
	}
}

// TestGuardsTakenOffAreNoticed takes each kind of guard off, as the owner can.
func TestGuardsTakenOffAreNoticed(t *testing.T) {
	t.Parallel()
	url := filled(t)
	conn := pgtest.Connect(t, url)
	store := open(t, url)
	role := serverRole(t, url)
	for _, test := range []struct{ off, on, want string }{
		{"ALTER TABLE stele.chunks DISABLE TRIGGER insert_only", "ALTER TABLE stele.chunks ENABLE ALWAYS TRIGGER insert_only",
			"trigger insert_only of stele.chunks was changed: it is \"disabled"},
		{"ALTER TABLE stele.chunks ENABLE TRIGGER insert_only", "ALTER TABLE stele.chunks ENABLE ALWAYS TRIGGER insert_only",
			"trigger insert_only of stele.chunks was changed: it is \"not always"},
		{"ALTER TABLE stele.heads DISABLE TRIGGER ALL", "ALTER TABLE stele.heads ENABLE TRIGGER ALL, ENABLE ALWAYS TRIGGER check_newest, ENABLE ALWAYS TRIGGER check_cover, ENABLE ALWAYS TRIGGER insert_only, ENABLE ALWAYS TRIGGER insert_only_truncate",
			"constraint heads_base_fkey of stele.heads was changed: it is \"disabled"},
		{"ALTER TABLE stele.tiles RENAME TO tiles_away", "ALTER TABLE stele.tiles_away RENAME TO tiles",
			"trigger insert_only of stele.tiles is missing"},
		{"ALTER TABLE stele.heads DROP CONSTRAINT heads_base_key CASCADE",
			"ALTER TABLE stele.heads ADD CONSTRAINT heads_base_key UNIQUE (log_id, base)",
			"constraint heads_base_key of stele.heads is missing"},
		{"CREATE FUNCTION stele.evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER evil BEFORE INSERT ON stele.chunks FOR EACH ROW EXECUTE FUNCTION stele.evil()",
			"DROP FUNCTION stele.evil() CASCADE",
			"trigger evil of stele.chunks is not one of Stele's"},
		{"CREATE RULE evil AS ON INSERT TO stele.checkpoints DO INSTEAD NOTHING", "DROP RULE evil ON stele.checkpoints",
			"rule evil of stele.checkpoints is not one of Stele's"},
		{"GRANT UPDATE ON stele.heads TO PUBLIC", "REVOKE UPDATE ON stele.heads FROM PUBLIC",
			"everybody has the right to UPDATE stele.heads"},
		{"GRANT UPDATE (note) ON stele.checkpoints TO " + role, "REVOKE UPDATE (note) ON stele.checkpoints FROM " + role,
			role + " has the right to UPDATE stele.checkpoints"},
		{"GRANT DELETE, TRUNCATE ON stele.chunks TO " + role, "REVOKE DELETE, TRUNCATE ON stele.chunks FROM " + role,
			role + " has the right to DELETE stele.chunks"},
		{"ALTER TABLE stele.epochs OWNER TO " + role, "ALTER TABLE stele.epochs OWNER TO postgres; GRANT SELECT, INSERT ON stele.epochs TO " + role,
			"stele.epochs belongs to " + role + ", and the schema to postgres"},
		{"ALTER TABLE stele.heads ENABLE ROW LEVEL SECURITY", "ALTER TABLE stele.heads DISABLE ROW LEVEL SECURITY",
			"stele.heads hides rows by row security"},
		{"BEGIN; SET LOCAL session_replication_role TO replica; ALTER TABLE stele.chunks DISABLE TRIGGER check_chunk; INSERT INTO stele.chunks SELECT log_id, 300, 1, 'x' FROM stele.logs; COMMIT; ALTER TABLE stele.chunks ENABLE ALWAYS TRIGGER check_chunk",
			"ALTER TABLE stele.chunks DISABLE TRIGGER insert_only; DELETE FROM stele.chunks WHERE start = 300; ALTER TABLE stele.chunks ENABLE ALWAYS TRIGGER insert_only",
			"log default has a chunk at entry 300 beyond its head of 300 entries"},
	} {
		if _, err := conn.Exec(t.Context(), test.off); err != nil {
			t.Fatalf("%s: %v", test.off, err)
		}
		guards, err := store.Guards(t.Context())
		if err != nil || !strings.Contains(strings.Join(guards.Missing, "\n"), test.want) {
			t.Errorf("%s: %q, error %v; want %q", test.off, guards.Missing, err, test.want)
		}
		if _, err := conn.Exec(t.Context(), test.on); err != nil {
			t.Fatalf("%s: %v", test.on, err)
		}
		if guards, err = store.Guards(t.Context()); err != nil || len(guards.Missing) > 0 {
			t.Fatalf("%s: %q, error %v; want nothing", test.on, guards.Missing, err)
		}
	}
	conn.Exec(t.Context(), "CREATE OR REPLACE FUNCTION stele.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS 'BEGIN RETURN NULL; END'")
	if guards, err := store.Guards(t.Context()); err != nil || !strings.Contains(strings.Join(guards.Missing, "\n"), "function stele.refuse() was changed") {
		t.Errorf("with another function: %q, error %v", guards.Missing, err)
	}
}
