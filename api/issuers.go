package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
)

// This file serves /issuers: the OpenID providers whose tokens say who a request comes from.

func (s *server) listIssuers(w http.ResponseWriter, _ *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	issuers := []access.Issuer{}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		issuers = append(issuers, state.Issuers()...)
	})
	return reply(w, http.StatusOK, map[string]any{"issuers": issuers})
}

func (s *server) addIssuer(w http.ResponseWriter, r *http.Request) error {
	var n struct {
		Name     string `json:"name"`
		URL      string `json:"url"`
		Audience string `json:"audience"`
		Username string `json:"username"`
		Secret   string `json:"secret"`
	}
	change, err := s.readChange(w, r, &n, `{"name": "corp", "url": "https://login.example.com", "audience": "stele", "username": "email", "secret": "env:STELE_SECRET_CORP"}; `+
		"username and secret may be left out")
	if err != nil {
		return err
	}
	i := access.Issuer{Name: n.Name, URL: n.URL, Audience: n.Audience, Username: n.Username, Secret: n.Secret}
	if err := s.Access.AddIssuer(r.Context(), change, i); err != nil {
		return err
	}
	w.Header().Set("Location", "/issuers/"+i.Name)
	return reply(w, http.StatusCreated, i)
}

func (s *server) removeIssuer(w http.ResponseWriter, r *http.Request) error {
	change, err := s.readChange(w, r, nil, "")
	if err == nil {
		err = s.Access.RemoveIssuer(r.Context(), change, chi.URLParam(r, "name"))
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
