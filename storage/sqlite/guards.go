package sqlite

// This file is the guards of the core: triggers and tables with their constraints. They
// are compared with those of a new database, in memory, that the migrations make.

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/stele-log/stele/migrations"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/guard"
)

// Guards reads the schema as SQLite keeps it, and the edge of each log. Whoever may
// write to the file can take every guard off.
func (s *Store) Guards(ctx context.Context) (g storage.Guards, err error) {
	made, err := madeGuards()
	if err != nil {
		return g, fmt.Errorf("make a schema to compare with: %w", err)
	}
	have := guard.Set{}
	err = s.reader.each(ctx, func(row row) error {
		var what, how string
		err := row.Scan(&what, &how)
		have[what] = how
		return err
	}, sqlGuards)
	if err != nil {
		return g, fmt.Errorf("read the database's guards: %w", err)
	}
	// Tables and indexes of others, such as those of ANALYZE and of Litestream, do no
	// harm.
	maps.DeleteFunc(have, func(what, _ string) bool {
		_, ours := made[what]
		return !ours && !strings.HasPrefix(what, "trigger ")
	})
	g.Missing = guard.Differences(made, have)
	beyond, err := collect(ctx, s.reader, func(row row) (sentence string, err error) {
		return sentence, row.Scan(&sentence)
	}, sqlBeyond)
	if err != nil {
		return g, fmt.Errorf("read the database's guards: %w", err)
	}
	g.Missing = append(g.Missing, beyond...)
	return g, nil
}

// madeGuards returns what the migrations make.
var madeGuards = sync.OnceValues(func() (guard.Set, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection has a database of its own
	if _, _, err := migrations.SQLite.Up(context.Background(), db); err != nil {
		return nil, err
	}
	rows, err := db.Query(sqlGuards)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	made := guard.Set{}
	for rows.Next() {
		var what, how string
		if err := rows.Scan(&what, &how); err != nil {
			return nil, err
		}
		made[what] = how
	}
	return made, rows.Err()
})
