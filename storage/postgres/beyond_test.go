package postgres_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestServerInsertsNothingBesideCommits inserts rows that no commit makes, as the
// server's role. The log has 300 entries, so chunks at 0, 128 and 256 and one full tile.
func TestServerInsertsNothingBesideCommits(t *testing.T) {
	t.Parallel()
	url := filled(t)
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "SET ROLE "+serverRole(t, url)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ statement, want string }{
		{"INSERT INTO stele.chunks SELECT log_id, 300, 1, 'x' FROM stele.logs", "chunks_covered"},
		{"INSERT INTO stele.chunks SELECT log_id, 299, 2, 'x' FROM stele.logs", "chunks_covered"},
		{"INSERT INTO stele.chunks SELECT log_id, 5, 1, 'x' FROM stele.logs", "chunks_covered"},
		{"INSERT INTO stele.chunks SELECT log_id + 1, 0, 1, 'x' FROM stele.logs", "chunks_covered"},
		{"INSERT INTO stele.chunks SELECT log_id, 9223372036854775800, 7, 'x' FROM stele.logs", "chunks_covered"},
		{"BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO stele.chunks SELECT log_id, 300, 1, 'x' FROM stele.logs", "chunks_covered"},
		{`BEGIN;
		  INSERT INTO stele.chunks SELECT log_id, 300, 10, 'x' FROM stele.logs;
		  INSERT INTO stele.heads (log_id, size, base, root, epoch, mac)
		  SELECT log_id, 310, 300, sha256('x'), (SELECT max(epoch) FROM stele.epochs), sha256('x') FROM stele.logs;
		  INSERT INTO stele.chunks SELECT log_id, 305, 1, 'x' FROM stele.logs;
		  COMMIT`, "chunks_covered"},
		{"INSERT INTO stele.tiles SELECT log_id, 0, 1, sha256('x'), decode(repeat('00', 8192), 'hex') FROM stele.logs", "tiles_covered"},
		{"INSERT INTO stele.tiles SELECT log_id, 1, 0, sha256('x'), decode(repeat('00', 8192), 'hex') FROM stele.logs", "tiles_covered"},
		{"INSERT INTO stele.tiles SELECT log_id, 7, 0, sha256('x'), decode(repeat('00', 8192), 'hex') FROM stele.logs", "tiles_covered"},
		{"INSERT INTO stele.epochs (log_id, epoch, holder) SELECT log_id, 9223372036854775807, 'x' FROM stele.logs", "epochs_next"},
		{"INSERT INTO stele.epochs (log_id, epoch, holder) SELECT log_id, max(epoch) + 2, 'x' FROM stele.epochs GROUP BY log_id", "epochs_next"},
		{"INSERT INTO stele.checkpoints (log_id, number, size, note, published_at) SELECT log_id, max(number) + 1, 0, 'x', now() FROM stele.checkpoints GROUP BY log_id", "checkpoints_grow"},
	} {
		_, err := conn.Exec(t.Context(), test.statement)
		if pg, ok := err.(*pgconn.PgError); !ok || pg.ConstraintName != test.want {
			t.Errorf("%s: error %v, want one of %s", test.statement, err, test.want)
		}
		if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	}
	if head, err := openDefault(t, url).Head(t.Context()); err != nil || head.Size != 300 {
		t.Errorf("the log has head %v, error %v", head, err)
	}
}

// TestSearchPathDoesNotOpenTheGuards has operators of the inserter's own come first.
func TestSearchPathDoesNotOpenTheGuards(t *testing.T) {
	t.Parallel()
	url := filled(t)
	conn := pgtest.Connect(t, url)
	for _, statement := range []string{
		"CREATE SCHEMA evil",
		"GRANT USAGE ON SCHEMA evil TO PUBLIC",
		"CREATE FUNCTION evil.yes(bigint, bigint) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'",
		"CREATE OPERATOR evil.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.yes)",
		"CREATE OPERATOR evil.>= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.yes)",
		"SET search_path TO evil, pg_catalog",
		"SET ROLE " + serverRole(t, url),
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	_, err := conn.Exec(t.Context(), "INSERT INTO stele.chunks SELECT log_id, 300, 1, 'x' FROM stele.logs")
	if pg, ok := err.(*pgconn.PgError); !ok || pg.ConstraintName != "chunks_covered" {
		t.Errorf("error %v, want one of chunks_covered", err)
	}
}

// TestBeyondTheHead puts rows there with the guards off: they are not read, and are gone
// once an epoch begins.
func TestBeyondTheHead(t *testing.T) {
	t.Parallel()
	url := filled(t)
	pgtest.Tamper(t, url, "stele.chunks", "INSERT INTO stele.chunks SELECT log_id, 300, 10, 'x' FROM stele.logs")
	pgtest.Tamper(t, url, "stele.tiles",
		"INSERT INTO stele.tiles SELECT log_id, 0, 1, sha256('x'), decode(repeat('00', 8192), 'hex') FROM stele.logs")
	l := openDefault(t, url)
	storagetest.Check(t, l)
	if _, err := l.Tile(t.Context(), 0, 1); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a tile that is not full yet: error %v, want %q", err, storage.ErrNotFound)
	}
	if _, err := l.TileRoots(t.Context(), 0, 0, 2); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the root of a tile that is not full yet: error %v, want %q", err, storage.ErrNotFound)
	}
	err := l.EachTile(t.Context(), 0, 0, 5, func(index uint64, _ []byte) error {
		if index > 0 {
			t.Errorf("tile %d is read", index)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	lease, err := l.Lead(t.Context(), "http://here")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	var left int
	err = pgtest.Connect(t, url).QueryRow(t.Context(),
		"SELECT (SELECT count(*) FROM stele.chunks WHERE start >= 300) + (SELECT count(*) FROM stele.tiles WHERE index > 0)").Scan(&left)
	if err != nil || left > 0 {
		t.Errorf("%d rows are left, error %v", left, err)
	}
	f, err := tree.ReadFrontier(t.Context(), storage.NewReader(l, storage.NewCache(0)), 300)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), storagetest.Batch(t, lease.Epoch(), f, storagetest.Entries(300, 300))); err != nil {
		t.Error(err)
	}
	storagetest.Check(t, l)
}

func openDefault(t *testing.T, url string) storage.Log {
	t.Helper()
	l, err := open(t, url).OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
