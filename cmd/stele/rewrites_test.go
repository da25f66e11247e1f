package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/storage/storagetest"
)

// A rewrite is what somebody who owns the database does to it while no server runs, with
// every guard taken off.
type rewrite struct {
	name string
	sql  []string // where {heads} is a table, and {log} the number of the log default
	grow int      // entries committed before that, which nothing is published of
	do   func(t *testing.T, d database) database
	args []string // of check; since.checkpoint and since.tlog-proof are of 900 entries
	says string   // by check, in this order, separated by *
}

// rewrites are of a log with the commits and checkpoints 0 to 4 of the sizes 0, 256, 512,
// 768 and 900, beside another log.
var rewrites = []rewrite{
	{name: "the log is cut off", sql: cutTo("512"), says: "signed.checkpoint*signed 900 entries, and shows 512*the entries from 512 on"},
	{name: "all of the log is cut off", sql: cutTo("0"), says: "signed.checkpoint*signed 900 entries, and shows 0"},
	{name: "the log is cut off, and its record with it", sql: cutTo("512"), do: loseRecord,
		args: []string{"--since", "since.checkpoint"}, says: "since.checkpoint*signed 900 entries, and shows 512"},
	{name: "the log is cut off below a receipt", sql: cutTo("256"), do: loseRecord,
		args: []string{"--since", "since.tlog-proof"}, says: "since.tlog-proof*signed 900 entries, and shows 256"},
	{name: "another history of the same size is shown", do: forge,
		args: []string{"--since", "since.checkpoint"}, says: "since.checkpoint*signs size 900*another history was signed"},

	{name: "the root of a head", sql: []string{"UPDATE {heads} SET root = {zeros} WHERE size = 512 AND log_id = {log}"},
		says: "head of size 512*it was changed"},
	{name: "the root of the newest head", sql: []string{"UPDATE {heads} SET root = {zeros} WHERE size = 900 AND log_id = {log}"},
		says: "head of size 900*it was changed*as the log has signed"},
	{name: "the root of a head that no checkpoint covers", grow: 100,
		sql: []string{"UPDATE {heads} SET root = {zeros} WHERE size = 1000 AND log_id = {log}"}, says: "head of size 1000*it was changed"},
	{name: "a head is deleted", sql: []string{"DELETE FROM {heads} WHERE size = 512 AND log_id = {log}"},
		says: "head of size 768*it builds on size 512, and the one before it has size 256"},
	{name: "the first head is deleted", sql: []string{"DELETE FROM {heads} WHERE size = 0 AND log_id = {log}"},
		says: "head of size 0*missing"},
	{name: "the newest head is deleted", sql: []string{"DELETE FROM {heads} WHERE size = 900 AND log_id = {log}"},
		says: "the newest checkpoint signs 900 entries, and the newest committed head has 768"},
	{name: "all heads are deleted", sql: []string{"DELETE FROM {heads} WHERE log_id = {log}"}, says: "the log has no head"},
	{name: "the base of a head", sql: []string{"UPDATE {heads} SET base = 300 WHERE size = 512 AND log_id = {log}"},
		says: "head of size 512*it builds on size 300"},
	{name: "the size of a head", sql: []string{"UPDATE {heads} SET size = 511 WHERE size = 512 AND log_id = {log}"},
		says: "head of size 511*it was changed"},
	{name: "the epoch of a head", sql: []string{"UPDATE {heads} SET epoch = 99 WHERE size = 512 AND log_id = {log}"},
		says: "head of size 768*it is of epoch 1*99"},

	{name: "the MAC of a head", sql: []string{"UPDATE {heads} SET mac = {zeros} WHERE size = 512 AND log_id = {log}"},
		says: "head of size 512*its MAC"},
	{name: "entries are added, as whoever owns the database can", grow: 100, says: "head of size 1000*its MAC"},

	{name: "the size of a checkpoint", sql: []string{"UPDATE {checkpoints} SET size = 511 WHERE number = 2 AND log_id = {log}"},
		says: "checkpoint 2*stored as one of size 511, its note has 512"},
	{name: "the note of a checkpoint becomes that of another", sql: []string{
		"UPDATE {checkpoints} SET note = (SELECT note FROM {checkpoints} WHERE number = 1 AND log_id = {log}) WHERE number = 2 AND log_id = {log}"},
		says: "checkpoint 2*stored as one of size 512, its note has 256"},
	{name: "the newest checkpoint becomes an older one", sql: []string{
		"UPDATE {checkpoints} SET size = 768, note = (SELECT note FROM {checkpoints} WHERE number = 3 AND log_id = {log}) WHERE number = 4 AND log_id = {log}"},
		says: "checkpoint 4 is not the one that was published*published.checkpoint"},
	{name: "a checkpoint is deleted", sql: []string{"DELETE FROM {checkpoints} WHERE number = 2 AND log_id = {log}"},
		says: "checkpoint 2 is missing: the next is 3"},
	{name: "the newest checkpoints are deleted", sql: []string{"DELETE FROM {checkpoints} WHERE number > 2 AND log_id = {log}"},
		says: "checkpoint 3 is missing*number 4 as published"},
	{name: "all checkpoints are deleted", sql: []string{"DELETE FROM {checkpoints} WHERE log_id = {log}"},
		says: "the database has none: they were deleted"},
	{name: "the newest checkpoints are deleted, and others get their numbers", do: goOn,
		sql:  []string{"DELETE FROM {checkpoints} WHERE number > 2 AND log_id = {log}"},
		says: "checkpoint 4 is not the one that was published*published.checkpoint"},

	{name: "a chunk is deleted", sql: []string{"DELETE FROM {chunks} WHERE start = 384 AND log_id = {log}"},
		says: "entries 256 to 511*entries from 384 on"},
	{name: "the newest chunk is deleted", sql: []string{"DELETE FROM {chunks} WHERE start = 896 AND log_id = {log}"},
		says: "entries 768 to 899*the log ends at entry 896"},
	{name: "the newest chunk is deleted, which no checkpoint covers", grow: 100,
		sql: []string{"DELETE FROM {chunks} WHERE start = 900 AND log_id = {log}"}, says: "entries 768 to 999*the log ends at entry 900"},
	{name: "two chunks change places", sql: []string{
		"UPDATE {chunks} SET start = 5000000 WHERE start = 0 AND log_id = {log}",
		"UPDATE {chunks} SET start = 0 WHERE start = 512 AND log_id = {log}",
		"UPDATE {chunks} SET start = 512 WHERE start = 5000000 AND log_id = {log}"}, says: "entry 0 was changed"},
	{name: "a chunk becomes that of the other log", sql: []string{
		"UPDATE {chunks} SET data = (SELECT data FROM {chunks} WHERE start = 0 AND log_id = (SELECT log_id FROM {logs} WHERE name = 'second')), count = 1 WHERE start = 896 AND log_id = {log}"},
		says: "entries 768 to 899"},
	{name: "a tile is deleted", sql: []string{`DELETE FROM {tiles} WHERE level = 0 AND "index" = 1 AND log_id = {log}`},
		says: "read tile/0/001"},
	{name: "a tile becomes another", sql: []string{
		`UPDATE {tiles} SET data = (SELECT data FROM {tiles} WHERE level = 0 AND "index" = 0 AND log_id = {log}) WHERE level = 0 AND "index" = 2 AND log_id = {log}`},
		says: "entry 512*tile/0/002 was changed at hash 0"},

	{name: "the log is deleted", sql: []string{"DELETE FROM {logs} WHERE log_id = {log}"},
		says: "log default*has signed*the database has no such log: it was deleted"},
	{name: "another log is deleted", sql: []string{"DELETE FROM {logs} WHERE name = 'second'"},
		says: "log second*logs/second/signed.checkpoint*it was deleted"},
	{name: "two logs change names", sql: []string{
		"UPDATE {logs} SET name = 'x' WHERE name = 'default'",
		"UPDATE {logs} SET name = 'default' WHERE name = 'second'",
		"UPDATE {logs} SET name = 'second' WHERE name = 'x'"}, says: "newest checkpoint of the log default"},
	{name: "the origin of the log", sql: []string{"UPDATE {logs} SET origin = 'log.example/other' WHERE log_id = {log}"},
		says: "the database has the log as log.example/other"},
	{name: "the record is overwritten", do: func(t *testing.T, d database) database {
		putFile(t, filepath.Join(d.dir, "logs/default/signed.checkpoint"), "nothing\n")
		return d
	}, says: "signed.checkpoint*is damaged"},
}

// cutTo deletes all of the log default that is beyond a size.
func cutTo(size string) []string {
	return []string{
		"DELETE FROM {checkpoints} WHERE size > " + size + " AND log_id = {log}",
		"DELETE FROM {heads} WHERE size > " + size + " AND log_id = {log}",
		"DELETE FROM {chunks} WHERE start >= " + size + " AND log_id = {log}",
		`DELETE FROM {tiles} WHERE ("index" + 1) * 256 > ` + size + " AND log_id = {log}",
	}
}

// loseRecord takes away what the server has on record.
func loseRecord(t *testing.T, d database) database {
	t.Helper()
	for _, name := range []string{"signed.checkpoint", "published.checkpoint"} {
		if err := os.Remove(filepath.Join(d.dir, "logs/default", name)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// goOn has the server write and publish more.
func goOn(t *testing.T, d database) database {
	t.Helper()
	s := serve(t, d.flags...)
	for range 3 {
		if _, err := newClient(t, s).WithReceipts().Append(t.Context(), client.Event{Type: "later"}); err != nil {
			t.Fatal(err)
		}
	}
	s.end(syscall.SIGTERM)
	return d
}

// forge has the owner of the keys begin the log again, with other entries.
func forge(t *testing.T, d database) database {
	t.Helper()
	d = loseRecord(t, d).lose(t)
	if err := os.RemoveAll(filepath.Join(d.dir, "logs/second")); err != nil {
		t.Fatal(err)
	}
	s := serve(t, append([]string{"--origin-prefix", "log.example"}, d.flags...)...)
	events := make([]client.Event, 900)
	for i := range events {
		events[i] = client.Event{Type: "other"}
	}
	if _, err := newClient(t, s).WithReceipts().Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	s.end(syscall.SIGTERM)
	return d
}

// TestCheckNamesEveryRewrite is also the other way round: what was not rewritten is whole.
func TestCheckNamesEveryRewrite(t *testing.T) {
	onBoth(t, func(t *testing.T, source database) {
		s := serve(t, append([]string{"--origin-prefix", "log.example"}, source.flags...)...)
		key := fill(t, s)
		run(t, 0, "logs", "create", "second", "--url", s.url)
		run(t, 0, "append", "--url", s.url, "--log", "second", putFile(t, filepath.Join(t.TempDir(), "one"), `{"type":"one"}`))
		files := t.TempDir()
		putFile(t, filepath.Join(files, "since.checkpoint"), get(t, s.url+"/logs/default/checkpoint"))
		putFile(t, filepath.Join(files, "since.tlog-proof"), get(t, s.url+"/logs/default/events/3/receipt"))
		s.end(syscall.SIGTERM)

		check := func(t *testing.T, status int, d database, args ...string) (string, string) {
			t.Helper()
			args = slices.Concat([]string{"check", "--key", key}, d.flags, args)
			for i, arg := range args {
				if strings.HasPrefix(arg, "since.") {
					args[i] = filepath.Join(files, arg)
				}
			}
			return run(t, status, args...)
		}
		all := []string{"--since", "since.checkpoint", "--since", "since.tlog-proof"}
		out, _ := check(t, 0, source.copy(t), all...)
		for _, want := range []string{"whole", "5 checkpoints of its history agree", "since.checkpoint", "since.tlog-proof",
			"size 900, which the server has signed last", "checkpoint 4, which the server has published last", "head.key"} {
			if !strings.Contains(out, want) {
				t.Errorf("of a whole log check prints %q, want %q in it", out, want)
			}
		}
		for _, r := range rewrites {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				d := source.copy(t)
				d = r.apply(t, d)
				out, stderr := check(t, 1, d, append([]string{"--json"}, r.args...)...)
				wantParts(t, stderr, "NOT whole*"+r.says)
				var failure struct{ Verdict, Reason string }
				if err := json.Unmarshal([]byte(out), &failure); err != nil || failure.Verdict != "contradicted" || failure.Reason == "" {
					t.Errorf("check prints %q: %v", out, err)
				}
			})
		}
	})
}

func (r rewrite) apply(t *testing.T, d database) database {
	t.Helper()
	if r.grow > 0 {
		l, err := d.store(t).OpenLog(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		storagetest.Grow(t, l, r.grow)
	}
	db := d.open(t)
	for _, table := range []string{"checkpoints", "heads", "chunks", "tiles", "epochs", "logs"} {
		d.dropTriggers(t, db, table)
	}
	for _, statement := range r.sql {
		d.rewrite(t, db, statement)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r.do != nil {
		return r.do(t, d)
	}
	return d
}
