package api

import (
	"net/http"
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

// readyz answers 200 if the database answers, 503 if it does not. A log that has a
// problem is named, and does not make the server unready: the other logs still
// need it.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.Store.Ping(r.Context()); err != nil {
		if r.Context().Err() == nil {
			s.Logger.Error("database does not answer", "error", err)
		}
		_ = reply(w, http.StatusServiceUnavailable, health{Status: "unavailable", Reason: "the database does not answer"})
		return
	}
	h := health{Status: "ok", Version: s.Version, Logs: map[string]string{}, Guards: "present"}
	if len(s.Engine.GuardsMissing()) > 0 {
		h.Guards = "missing" // the server's log has which; strangers need not know
	}
	for _, l := range s.Engine.Logs() {
		switch {
		case l.Broken != nil:
			h.Logs[l.Name] = l.Broken.Error()
		case l.Publisher.Refusal() != nil:
			h.Logs[l.Name] = l.Publisher.Refusal().Error()
		case !l.Sequencer.Leading():
			h.Logs[l.Name] = "this server is not writing to the log"
		case l.Publisher.Stalled() != nil:
			h.Logs[l.Name] = "waiting for witnesses: " + l.Publisher.Stalled().Error()
		case l.Publisher.Claims() != nil:
			h.Logs[l.Name] = l.Publisher.Claims().Error()
		}
	}
	_ = reply(w, http.StatusOK, h)
}
