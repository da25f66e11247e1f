package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/stele-log/stele/internal/engine"
)

// This file serves GET /healthz and GET /readyz, for whatever starts, restarts and
// routes to servers. The first touches nothing, so that a database that is away
// does not get processes killed; the second asks the database, within maxTime.

type health struct {
	Status  string            `json:"status"` // "ok" or "unavailable"
	Version string            `json:"version,omitempty"`
	Logs    map[string]string `json:"logs,omitempty"`   // by name: what keeps a log from being written, signed or cosigned
	Guards  string            `json:"guards,omitempty"` // of the database: "present" or "missing"
	Reason  string            `json:"reason,omitempty"`
}

// healthz answers that the process is alive.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	_ = reply(w, http.StatusOK, health{Status: "ok", Version: s.Version})
}

// readyz returns a handler that answers 200 if the database answers and events can be
// appended, to any log or to the one that the query names, and 503 if not. A log
// that has a problem is named; text puts the problem into words.
func (s *server) readyz(text func(error) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		logs := s.Engine.Logs()
		if r.URL.Query().Has("log") {
			l, err := s.find(r, r.URL.Query().Get("log"))
			if err != nil {
				s.fail(w, r, err)
				return
			}
			logs = []*engine.Log{l}
		}
		if err := s.Store.Ping(r.Context()); err != nil {
			if errors.Is(r.Context().Err(), context.Canceled) {
				s.fail(w, r, r.Context().Err())
				return
			}
			s.Logger.Error("database does not answer", "error", err)
			_ = reply(w, http.StatusServiceUnavailable, health{Status: "unavailable", Reason: "the database does not answer"})
			return
		}
		h := health{Status: "ok", Version: s.Version, Logs: map[string]string{}, Guards: "present"}
		if len(s.Engine.GuardsMissing()) > 0 {
			h.Guards = "missing" // the server's log has which; strangers need not know
		}
		writable := 0
		for _, l := range logs {
			problem, written := problemOfLog(l)
			if problem != nil && s.knows(r, l.Name) {
				h.Logs[l.Name] = text(problem)
			}
			if written {
				writable++
			}
		}
		status := http.StatusOK
		if writable == 0 && len(logs) > 0 {
			status, h.Status, h.Reason = http.StatusServiceUnavailable, "unavailable", "this server can write to none of the logs"
		}
		_ = reply(w, status, h)
	}
}

// problemOfLog returns what keeps a log from being written, signed or cosigned, or nil;
// and whether this server writes to it.
func problemOfLog(l *engine.Log) (problem error, written bool) {
	if l.Broken != nil {
		return brokenError{l.Broken}, false
	}
	if refusal := l.Publisher.Refusal(); refusal != nil {
		return refusal, false
	}
	if l.Sequencer.Stalled() {
		return fmt.Errorf("a commit has been under way for %v, and new events are refused until it ends",
			l.Sequencer.CommitAge().Round(time.Second)), false
	}
	if !l.Sequencer.Leading() {
		if url := l.Sequencer.Writer(); url != "" {
			return fmt.Errorf("this server is not writing to the log; %s holds its lease", url), false
		}
		return causedError{"this server is not writing to the log", l.Sequencer.Failure()}, false
	}
	if failing := l.Publisher.Failing(); failing != nil {
		return causedError{"no checkpoint can be published, and it is tried again", failing}, true
	}
	if stalled := l.Publisher.Stalled(); stalled != nil {
		return waitingError{stalled}, true
	}
	if claims := l.Publisher.Claims(); claims != nil {
		return claims, true
	}
	return nil, true
}
