package main_test

import (
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/storage/postgres"
)

// An insert is a row that no server inserts, in the two databases.
type insert struct {
	name             string
	postgres, sqlite string
}

var inserts = []insert{
	{"a chunk where the next belongs",
		`INSERT INTO stele.chunks SELECT log_id, max(size), 1, 'x' FROM stele.heads GROUP BY log_id`,
		`INSERT INTO chunks SELECT log_id, max(size), 1, x'00' FROM heads GROUP BY log_id`},
	{"a chunk far beyond the head",
		`INSERT INTO stele.chunks SELECT log_id, 1000000, 1, 'x' FROM stele.logs`,
		`INSERT INTO chunks SELECT log_id, 1000000, 1, x'00' FROM logs`},
	{"a chunk within another",
		`INSERT INTO stele.chunks SELECT log_id, 5, 1, 'x' FROM stele.logs`,
		`INSERT INTO chunks SELECT log_id, 5, 1, x'00' FROM logs`},
	{"a tile that is not full yet",
		`INSERT INTO stele.tiles SELECT log_id, 0, max(size) / 256, sha256('x'), decode(repeat('00', 8192), 'hex') FROM stele.heads GROUP BY log_id`,
		`INSERT INTO tiles SELECT log_id, 0, max(size) / 256, zeroblob(32), zeroblob(8192) FROM heads GROUP BY log_id`},
	{"an epoch that none can follow",
		`INSERT INTO stele.epochs (log_id, epoch, holder) SELECT log_id, 9223372036854775807, 'x' FROM stele.logs`,
		`INSERT INTO epochs SELECT log_id, 9223372036854775807, 'x', 0 FROM logs`},
	{"the next epoch",
		`INSERT INTO stele.epochs (log_id, epoch, holder) SELECT log_id, max(epoch) + 1, 'x' FROM stele.epochs GROUP BY log_id`,
		`INSERT INTO epochs SELECT log_id, max(epoch) + 1, 'x', 0 FROM epochs GROUP BY log_id`},
	{"a checkpoint that is none",
		`INSERT INTO stele.checkpoints (log_id, number, size, note, published_at)
		 SELECT log_id, max(number) + 1, max(size), 'x', now() FROM stele.checkpoints GROUP BY log_id`,
		`INSERT INTO checkpoints SELECT log_id, max(number) + 1, max(size), x'00', 0 FROM checkpoints GROUP BY log_id`},
	{"a log without anything",
		`INSERT INTO stele.logs (name, origin) VALUES ('intruder', 'intruder/x')`,
		`INSERT INTO logs (name, origin, created_at) VALUES ('intruder', 'intruder/x', 0)`},
}

// TestInsertsDoNotEndALog inserts rows with the rights of the server, and of whoever
// opens the file: the log is written, signed and read on, also after a restart.
func TestInsertsDoNotEndALog(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		fill(t, s)
		db := d.open(t)
		defer db.Close()
		db.SetMaxOpenConns(1)
		if d.url != "" {
			role, err := postgres.Role(t.Context(), d.url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("SET ROLE " + role); err != nil {
				t.Fatal(err)
			}
		}
		goesOn := func(after string) {
			t.Helper()
			c := newClient(t, s)
			results, err := c.WithReceipts().Append(t.Context(), client.Event{Type: "later"})
			if err == nil && results[0].Receipt == nil {
				t.Errorf("%s: no receipt: %s", after, results[0].Pending)
			}
			if err != nil {
				t.Fatalf("%s: %v", after, err)
			}
			if _, err := c.Entry(t.Context(), results[0].Index); err != nil {
				t.Errorf("%s: %v", after, err)
			}
		}
		for _, row := range inserts {
			statement := row.sqlite
			if d.url != "" {
				statement = row.postgres
			}
			_, err := db.Exec(statement)
			after := row.name
			if err != nil {
				after += ", refused (" + strings.TrimSpace(err.Error()) + ")"
			}
			goesOn(after)
			if err := s.stop(); err != nil { // and not SIGKILL, after which the lease has to expire
				t.Fatal(err)
			}
			s = serve(t, d.flags...)
			goesOn(after + " and a restart")
		}
	})
}
