package api

import (
	"net/http"

	"github.com/stele-log/stele/internal/access"
)

// This file serves /limits: how much principals may ask for. A principal's name may have
// slashes in it, so it is not part of a path.

func (s *server) listLimits(w http.ResponseWriter, _ *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	limits := []access.Limit{}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		limits = append(limits, state.Limits()...)
	})
	return reply(w, http.StatusOK, map[string]any{"limits": limits})
}

// setLimit gives a principal a limit, in place of the one that it has.
func (s *server) setLimit(w http.ResponseWriter, r *http.Request) error {
	var l access.Limit
	change, err := s.readChange(w, r, &l, `{"principal": "...", "events": 1000, "bytes": 1000000, "requests": 10, "logs": 5}; `+
		"events and bytes are a second, requests at a time, logs in all; principal * is for all that have no limit of their own")
	if err != nil {
		return err
	}
	if err := s.Access.SetLimit(r.Context(), change, l); err != nil {
		return err
	}
	return reply(w, http.StatusOK, l)
}

func (s *server) removeLimit(w http.ResponseWriter, r *http.Request) error {
	change, err := s.readChange(w, r, nil, "")
	if err == nil {
		err = s.Access.RemoveLimit(r.Context(), change, r.URL.Query().Get("principal"))
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
