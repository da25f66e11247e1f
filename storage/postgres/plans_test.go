package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestReadsOfALargeLogGoThroughWhatTheyAskFor has the database know that a log is large,
// and counts the rows that each statement goes through to read a few.
func TestReadsOfALargeLogGoThroughWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	const bundles = 30_000
	url := pgtest.URL(t)
	storagetest.Grow(t, create(t, url), 700)
	for table, rows := range map[string]string{
		"chunks": `INSERT INTO stele.chunks (log_id, start, count, data)
			SELECT log_id, n * 256, 256, convert_to(repeat(md5(n::text), 60), 'utf8') FROM stele.logs, generate_series(3, $1) n`,
		"tiles": `INSERT INTO stele.tiles (log_id, level, index, root, data)
			SELECT log_id, 0, n, root, data FROM stele.tiles, generate_series(2, $1) n WHERE level = 0 AND index = 0`,
		"heads": `INSERT INTO stele.heads (log_id, size, base, root, epoch, mac)
			SELECT log_id, size + n * 256, size + (n - 1) * 256, root, epoch, root FROM stele.heads, generate_series(1, $1) n WHERE base = 0`,
		"checkpoints": `INSERT INTO stele.checkpoints (log_id, number, size, note, published_at)
			SELECT log_id, n, 0, 'note', now() FROM stele.logs, generate_series(0, $1) n`,
	} {
		pgtest.Tamper(t, url, "stele."+table, rows, bundles)
	}
	pgtest.Exec(t, url, "ANALYZE")

	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), postgres.Session); err != nil {
		t.Fatal(err)
	}
	for name, statement := range postgres.Reads {
		found, passed := explain(t, conn, statement, map[string]string{
			"log": "1", "start": "20000", "end": "20010", "bundles": "'{7,20000,29000}'", "first": "20000", "limit": "10",
			"level": "0", "index": "20000",
		})
		if found == 0 || passed > 10*found+50 {
			t.Errorf("for %s, %.0f rows, the database goes through %.0f of %d", name, found, passed, bundles)
		}
	}
}

// A plan is a node of what EXPLAIN prints.
type plan struct {
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Joined  float64 `json:"Rows Removed by Join Filter"`
	Checked float64 `json:"Rows Removed by Index Recheck"`
	Plans   []plan
}

// most returns the largest number of rows at a node.
func (p plan) most() float64 {
	n := (p.Rows + p.Removed + p.Joined + p.Checked) * p.Loops
	for _, inner := range p.Plans {
		n = max(n, inner.most())
	}
	return n
}

// explain runs a statement with the plan that serves any arguments. It returns the number
// of rows that were found, and that of those that were gone through.
func explain(t *testing.T, conn *pgx.Conn, statement string, args map[string]string) (found, passed float64) {
	t.Helper()
	named := pgx.NamedArgs{}
	for name, value := range args {
		named[name] = value
	}
	text, values, err := named.RewriteQuery(context.Background(), conn, statement, nil)
	if err != nil {
		t.Fatal(err)
	}
	literals := make([]string, len(values))
	for i, v := range values {
		literals[i], _ = v.(string)
	}
	var out string
	for _, sql := range []string{"DEALLOCATE ALL", "PREPARE q AS " + text} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	sql := fmt.Sprintf("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE q(%s)", strings.Join(literals, ", "))
	if err := conn.QueryRow(t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&out); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var explained []struct{ Plan plan }
	if err := json.Unmarshal([]byte(out), &explained); err != nil {
		t.Fatal(err)
	}
	top := explained[0].Plan
	return top.Rows * top.Loops, top.most()
}
