package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stele-log/stele/storage"
)

const (
	guardsEvery   = time.Minute
	guardsTimeout = 10 * time.Second
)

// A guardWatch knows which of the guards with which the database keeps the core
// insert-only are missing. They can be taken off by whoever owns the tables, and the
// signatures still show what was changed; but nobody should find out that way.
type guardWatch struct {
	store  storage.Store
	logger *slog.Logger

	mu      sync.Mutex
	missing []string
}

// run looks at the guards once a minute, until the context ends.
func (w *guardWatch) run(ctx context.Context) {
	ticker := time.NewTicker(guardsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.look(ctx)
		}
	}
}

// look logs what is missing that was not so before. If the database does not answer,
// what was known stays so. It returns why the database's user could take guards off.
func (w *guardWatch) look(ctx context.Context) (excess string) {
	ctx, cancel := context.WithTimeout(ctx, guardsTimeout)
	defer cancel()
	now, err := w.store.Guards(ctx)
	if err != nil {
		w.logger.Debug("the database's guards could not be looked at", "error", err)
		return ""
	}
	w.mu.Lock()
	before := w.missing
	w.missing = now.Missing
	w.mu.Unlock()
	for _, what := range now.Missing {
		if !slices.Contains(before, what) {
			w.logger.Warn("the database does not guard the log as it should: "+what, "missing", len(now.Missing))
		}
	}
	if len(before) > 0 && len(now.Missing) == 0 {
		w.logger.Info("the database guards the log again")
	}
	return now.Excess
}

// GuardsMissing returns a sentence for each guard of the database that is not as its
// schema was made, as of the last look, at most a minute ago.
func (e *Engine) GuardsMissing() []string {
	e.guards.mu.Lock()
	defer e.guards.mu.Unlock()
	return e.guards.missing
}
