package witnessdb_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

const origin = "log.example"

// A database is a new one: open opens it, raw connects to it without the driver
// under test.
type database struct {
	open func() (*witnessdb.DB, error)
	raw  func() (*sql.DB, error)
}

func onEach(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "w.db")
		test(t, database{
			func() (*witnessdb.DB, error) { return witnessdb.OpenSQLite(t.Context(), path) },
			func() (*sql.DB, error) { return sql.Open("sqlite", path) },
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		at := pgtest.Empty(t)
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("search_path", "stele_witness")
		u.RawQuery = q.Encode()
		test(t, database{
			func() (*witnessdb.DB, error) { return witnessdb.OpenPostgres(t.Context(), at) },
			func() (*sql.DB, error) { return sql.Open("pgx", u.String()) },
		})
	})
}

func (d database) mustOpen(t *testing.T) *witnessdb.DB {
	t.Helper()
	db, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func head(size uint64, b byte) tree.Head { return tree.Head{Size: size, Root: tree.Hash{b}} }

func signed(h tree.Head) witness.Signed {
	return witness.Signed{Head: h, Note: []byte("note of " + h.String()), Time: time.Unix(1_800_000_000, 5000).UTC()}
}

func TestAdvanceReplacesOnlyTheHeadItWasCheckedAgainst(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.mustOpen(t)
		if n, err := db.AddKeys(t.Context(), origin, "k1", "k2", "k1"); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		advance := func(from, to tree.Head) error { return db.Advance(t.Context(), origin, from, signed(to)) }
		for _, step := range []struct {
			name     string
			from, to tree.Head
			want     error
		}{
			{"another size", head(1, 0), head(5, 1), witness.ErrStale},
			{"the first", tree.Empty(), head(5, 1), nil},
			{"the first once more", tree.Empty(), head(5, 1), witness.ErrStale},
			{"another root", head(5, 2), head(6, 3), witness.ErrStale},
			{"the same again", head(5, 1), head(5, 1), nil},
			{"the next", head(5, 1), head(1<<63-1, 3), nil},
		} {
			if err := advance(step.from, step.to); !errors.Is(err, step.want) {
				t.Errorf("%s: %v, want %v", step.name, err, step.want)
			}
		}
		if err := db.Advance(t.Context(), "other", tree.Empty(), signed(head(1, 1))); !errors.Is(err, witness.ErrStale) {
			t.Errorf("an unknown log: %v", err)
		}
		l, err := db.Log(t.Context(), origin)
		want := signed(head(1<<63-1, 3))
		if err != nil || l.Head != want.Head || !l.SignedAt.Equal(want.Time) || strings.Join(l.VKeys, " ") != "k1 k2" || l.Used != 2 {
			t.Errorf("the log is %+v, %v", l, err)
		}
		msg, err := db.Checkpoint(t.Context(), witness.OriginHash(origin))
		if err != nil || string(msg) != string(want.Note) {
			t.Errorf("the note is %q, %v", msg, err)
		}
	})
}

func TestOneOfRacingAdvancesWins(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		dbs := []*witnessdb.DB{d.mustOpen(t), d.mustOpen(t)}
		if _, err := dbs[0].AddKeys(t.Context(), origin, "k"); err != nil {
			t.Fatal(err)
		}
		from := tree.Empty()
		for size := uint64(1); size < 10; size++ {
			var mu sync.Mutex
			var won []tree.Head
			var racing sync.WaitGroup
			for i := range byte(8) {
				racing.Go(func() {
					to := head(size, i)
					err := dbs[i%2].Advance(t.Context(), origin, from, signed(to))
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won = append(won, to)
					} else if !errors.Is(err, witness.ErrStale) {
						t.Error(err)
					}
				})
			}
			racing.Wait()
			if len(won) != 1 {
				t.Fatalf("%d have won: %v", len(won), won)
			}
			from = won[0]
		}
	})
}

func TestSchemaRefusesToGoBack(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.mustOpen(t)
		if _, err := db.AddKeys(t.Context(), origin, "k"); err != nil {
			t.Fatal(err)
		}
		if err := db.Advance(t.Context(), origin, tree.Empty(), signed(head(5, 1))); err != nil {
			t.Fatal(err)
		}
		if err := db.SetOwner(t.Context(), "me"); err != nil {
			t.Fatal(err)
		}
		raw, err := d.raw()
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		root := make([]byte, 32)
		for statement, args := range map[string][]any{
			`UPDATE logs SET size = 4`:                       nil,
			`UPDATE logs SET root = $1`:                      {root},
			`UPDATE logs SET origin = 'other'`:               nil,
			`UPDATE logs SET size = 6, root = $1`:            {root[:31]},
			`UPDATE logs SET note = NULL`:                    nil,
			`DELETE FROM logs`:                               nil,
			`UPDATE owner SET vkey = 'you'`:                  nil,
			`INSERT INTO owner (id, vkey) VALUES (2, 'you')`: nil,
			`INSERT INTO logs (origin, origin_hash, size, root, listed, qpd) VALUES ('log.example', 'x', 0, $1, false, 0)`: {root},
		} {
			if _, err := raw.Exec(statement, args...); err == nil {
				t.Errorf("%s: done", statement)
			}
		}
		if l, err := db.Log(t.Context(), origin); err != nil || l.Head != head(5, 1) {
			t.Errorf("the log is %+v, %v", l, err)
		}
	})
}

func TestDatabaseBelongsToOneWitness(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.mustOpen(t)
		if owner, err := db.Owner(t.Context()); owner != "" || err != nil {
			t.Errorf("a new database belongs to %q, %v", owner, err)
		}
		for range 2 {
			if err := db.SetOwner(t.Context(), "me"); err != nil {
				t.Error(err)
			}
		}
		if err := db.SetOwner(t.Context(), "you"); !errors.Is(err, witnessdb.ErrOwned) {
			t.Errorf("given away: %v", err)
		}
	})
}

func TestUnknownLogs(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		db := d.mustOpen(t)
		if _, err := db.Log(t.Context(), origin); !errors.Is(err, witness.ErrUnknownLog) {
			t.Errorf("Log: %v", err)
		}
		if err := db.SetPaused(t.Context(), origin, true); !errors.Is(err, witness.ErrUnknownLog) {
			t.Errorf("SetPaused: %v", err)
		}
		if _, err := db.AddKeys(t.Context(), origin, "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Checkpoint(t.Context(), witness.OriginHash(origin)); !errors.Is(err, witness.ErrUnknownLog) {
			t.Errorf("Checkpoint of a log that nothing was signed of: %v", err)
		}
	})
}

func TestOpenedByManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		var opening sync.WaitGroup
		for range 4 {
			opening.Go(func() {
				db, err := d.open()
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(db.Ping(context.Background()), db.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
	})
}

func TestSQLiteFileIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	db, err := witnessdb.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
