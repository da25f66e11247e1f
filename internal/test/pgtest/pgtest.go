// Package pgtest gives tests databases in a PostgreSQL cluster, which
// scripts/test starts. The environment variable STELE_TEST_POSTGRES is the URL
// of the cluster's superuser; without it tests are skipped, or fail where CI is
// "true".
//
// Each database is a copy of a template, which the first test to need it makes.
// Any number of test binaries can use one cluster at once.
package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/storage/postgres"
)

// URL returns the URL of a new database with Stele's schema, as the superuser.
// The database is dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	cluster := clusterURL(t)
	template, err := makeTemplate(t.Context(), cluster)
	if err != nil {
		t.Fatalf("make template database: %v", err)
	}
	return create(t, cluster, template)
}

// Empty returns the URL of a new database without a schema, as URL does.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, clusterURL(t), "template0")
}

// Copy returns the URL of a copy of the database at database, to which nobody may be
// connected, as URL does.
func Copy(t testing.TB, database string) string {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	return create(t, clusterURL(t), config.Database)
}

// Connect connects to url to the end of the test.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs a statement in the database at url, also while a test ends.
func Exec(t testing.TB, url, statement string) {
	t.Helper()
	if err := exec(context.Background(), url, statement); err != nil {
		t.Error(err)
	}
}

// Tamper runs a statement on a table of the database at url that its triggers
// would refuse. Other statements are refused as before.
func Tamper(t testing.TB, url, table, statement string, args ...any) {
	t.Helper()
	conn := Connect(t, url)
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "ALTER TABLE "+table+" DISABLE TRIGGER USER"); err != nil {
			return err
		}
		tag, err := tx.Exec(t.Context(), statement, args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("the statement changed nothing")
		}
		_, err = tx.Exec(t.Context(), "ALTER TABLE "+table+" ENABLE TRIGGER USER")
		return err
	})
	if err != nil {
		t.Fatalf("tamper with %s: %v", table, err)
	}
}

// WithUser returns the URL for another user of the same database.
func WithUser(t testing.TB, database, user string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	return u.String()
}

func clusterURL(t testing.TB) string {
	t.Helper()
	cluster := os.Getenv("STELE_TEST_POSTGRES")
	if cluster != "" {
		return cluster
	}
	const hint = "STELE_TEST_POSTGRES is not set: to test on PostgreSQL, run scripts/test"
	if os.Getenv("CI") == "true" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

// create makes a database from a template and returns its URL.
func create(t testing.TB, cluster, template string) string {
	t.Helper()
	name := "stele_test_" + strings.ToLower(rand.Text())
	if err := exec(t.Context(), cluster, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, statement := range []string{
			"DROP DATABASE " + name + " WITH (FORCE)",
			"DROP ROLE IF EXISTS " + migrations.DefaultRole(name),
		} {
			Exec(t, cluster, statement)
		}
	})
	return withDatabase(cluster, name)
}

// makeTemplate makes the template database, unless it is there, and returns its
// name, which changes with the migrations.
func makeTemplate(ctx context.Context, cluster string) (string, error) {
	hash, err := hashMigrations()
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("stele_template_%x", hash[:8])
	conn, err := pgx.Connect(ctx, cluster)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if there, err := exists(ctx, conn, name); there || err != nil {
		return name, err
	}
	// The connection's end frees the lock, whose first half is "STLT".
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(1398033492, 0)"); err != nil {
		return "", err
	}
	if there, err := exists(ctx, conn, name); there || err != nil {
		return name, err
	}
	// It gets its name once it is complete.
	draft := name + "_draft"
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+draft+" WITH (FORCE)"); err != nil {
		return "", err
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+draft+" TEMPLATE template0"); err != nil {
		return "", err
	}
	if _, _, err := postgres.Migrate(ctx, withDatabase(cluster, draft), ""); err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
	return name, err
}

func hashMigrations() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	files := migrations.Postgres.Files()
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(content), content)
		return err
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

func exists(ctx context.Context, conn *pgx.Conn, database string) (there bool, err error) {
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&there)
	return there, err
}

func exec(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func withDatabase(cluster, name string) string {
	u, err := url.Parse(cluster)
	if err != nil {
		return cluster // pgx says what is wrong with it
	}
	u.Path = "/" + name
	return u.String()
}
