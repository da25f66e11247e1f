package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/stele-log/stele/storage"
)

// absenceEvery is how often it is logged that the database is away.
const absenceEvery = 10 * time.Second

// An absenceHandler passes log records on, but makes one of those about a database that
// is away. Each log, follower and request notices that by itself, again and again: the
// first record is passed on, and while others come, one each absenceEvery. At debug all
// are.
type absenceHandler struct {
	slog.Handler
	absence *absence // of this handler and all that were made of it
}

// An absence is a time in which the database is away.
type absence struct {
	mu     sync.Mutex
	logged time.Time // when it was logged last
}

func newAbsenceHandler(h slog.Handler) slog.Handler { return absenceHandler{h, new(absence)} }

func (h absenceHandler) Handle(ctx context.Context, r slog.Record) error {
	if isAbsence(r) && !h.Enabled(ctx, slog.LevelDebug) && !h.absence.due(r.Time) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h absenceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return absenceHandler{h.Handler.WithAttrs(attrs), h.absence}
}

func (h absenceHandler) WithGroup(name string) slog.Handler {
	return absenceHandler{h.Handler.WithGroup(name), h.absence}
}

// due reports whether a record is the next to be logged.
func (a *absence) due(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.logged) < absenceEvery {
		return false
	}
	a.logged = now
	return true
}

// isAbsence reports whether the error in a record is that the database is away.
func isAbsence(r slog.Record) (away bool) {
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		away = ok && errors.Is(err, storage.ErrUnavailable)
		return !away
	})
	return away
}
