package api

import (
	"net/http"
)

type health struct {
	Status  string            `json:"status"` // "ok" or "unavailable"
	Version string            `json:"version,omitempty"`
	Logs    map[string]string `json:"logs,omitempty"` // by name: what keeps a log from being written, signed or cosigned
	Reason  string            `json:"reason,omitempty"`
}

// healthz says that the process answers.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	_ = reply(w, http.StatusOK, health{Status: "ok", Version: s.Version})
}

// readyz says whether the database answers. A log that has a problem is named,
// and does not make the server unready: the others need it.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.Store.Ping(r.Context()); err != nil {
		if r.Context().Err() == nil {
			s.Logger.Error("database does not answer", "error", err)
		}
		_ = reply(w, http.StatusServiceUnavailable, health{Status: "unavailable", Reason: "the database does not answer"})
		return
	}
	h := health{Status: "ok", Version: s.Version, Logs: map[string]string{}}
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
		}
	}
	_ = reply(w, http.StatusOK, h)
}
