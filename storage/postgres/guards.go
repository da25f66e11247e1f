package postgres

// This file is the guards of the core: what the database itself does to keep it
// insert-only. guards.txt has what the migrations have made, a guard a line, and a tab
// between what it is and how it is made. A migration that changes a guard changes that
// file; a test prints what it lacks.

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/guard"
)

//go:embed guards.txt
var madeGuards string

// Guards reads the system catalogs, which anybody may read, and the edges of each log.
func (s *Store) Guards(ctx context.Context) (storage.Guards, error) {
	var g storage.Guards
	have := guard.Set{}
	err := s.each(ctx, sqlGuards, nil, func(row pgx.CollectableRow) error {
		var what, how string
		err := row.Scan(&what, &how)
		have[what] = how
		return err
	})
	if err != nil {
		return g, fmt.Errorf("read the database's guards: %w", err)
	}
	g.Missing = guard.Differences(made(), have)
	for _, query := range []string{sqlExcessRights, sqlBeyond} {
		found, err := collect(ctx, s, pgx.RowTo[string], query, nil)
		if code(err) == codeNoTable {
			continue // all that it was guarded by is missing, too
		}
		if err != nil {
			return g, fmt.Errorf("read the database's guards: %w", err)
		}
		g.Missing = append(g.Missing, found...)
	}
	if err := s.queryRow(ctx, sqlPower, nil, &g.Excess); err != nil {
		return g, fmt.Errorf("read the rights of the database's user: %w", err)
	}
	return g, nil
}

func made() guard.Set {
	made := guard.Set{}
	for line := range strings.Lines(madeGuards) {
		what, how, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		made[what] = how
	}
	return made
}
