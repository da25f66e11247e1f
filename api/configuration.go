package api

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
)

// This file serves /whoami, /keys, /grants and /state: who may do what, and changes of
// that. A change that was made for a certain state names it in If-Match, as the ETag of
// what was read; it is refused with 409 if another came first.

// errNoAccess is the answer of a server without access control.
var errNoAccess = statusError{http.StatusNotFound, "this server runs without access control"}

type keyInfo struct {
	access.Key
	Live bool   `json:"live"`
	Text string `json:"key,omitempty"` // once, when it is made
}

type whoami struct {
	Principal string            `json:"principal"` // empty for somebody who has not said who they are
	Key       string            `json:"key,omitempty"`
	Local     bool              `json:"local,omitempty"` // may do everything, as somebody on the server's machine
	Claims    map[string]string `json:"claims,omitempty"`
	Grants    []access.Grant    `json:"grants"`
}

// showCaller serves who the request comes from, and what they may do.
func (s *server) showCaller(w http.ResponseWriter, r *http.Request) error {
	p := callerOf(r)
	who := whoami{Principal: p.Name, Key: p.Key, Local: p.Local, Claims: p.Claims, Grants: []access.Grant{}}
	if s.Access != nil {
		s.Access.View(func(state *access.State) {
			for _, g := range state.Grants() {
				if g.Principal == p.Name && g.Live(time.Now()) {
					who.Grants = append(who.Grants, g)
				}
			}
		})
	}
	return reply(w, http.StatusOK, who)
}

func (s *server) listKeys(w http.ResponseWriter, _ *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	keys := []keyInfo{}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		for _, k := range state.Keys() {
			keys = append(keys, keyInfo{Key: k, Live: k.Live(time.Now())})
		}
	})
	return reply(w, http.StatusOK, map[string]any{"keys": keys})
}

type newKey struct {
	Principal string            `json:"principal"`
	Expires   time.Time         `json:"expires,omitzero"`
	Claims    map[string]string `json:"claims"`
}

// createKey makes a key. Its text is in the answer and nowhere else.
func (s *server) createKey(w http.ResponseWriter, r *http.Request) error {
	var n newKey
	change, err := s.readChange(w, r, &n, `{"principal": "...", "expires": "2027-01-31T00:00:00Z", "claims": {"tenant": "..."}}; only principal is required`)
	if err != nil {
		return err
	}
	if !n.Expires.IsZero() && n.Expires.Before(time.Now()) {
		return badRequest("expires is in the past")
	}
	k, text, err := s.Access.CreateKey(r.Context(), change, access.Key{Principal: n.Principal, Expires: n.Expires, Claims: n.Claims})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", "/keys/"+k.ID)
	return reply(w, http.StatusCreated, keyInfo{Key: k, Live: true, Text: text})
}

func (s *server) revokeKey(w http.ResponseWriter, r *http.Request) error {
	change, err := s.readChange(w, r, nil, "")
	if err == nil {
		err = s.Access.RevokeKey(r.Context(), change, chi.URLParam(r, "id"))
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *server) listGrants(w http.ResponseWriter, _ *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	grants := []access.Grant{}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		grants = append(grants, state.Grants()...)
	})
	return reply(w, http.StatusOK, map[string]any{"grants": grants})
}

func (s *server) addGrant(w http.ResponseWriter, r *http.Request) error {
	var n struct {
		Principal string      `json:"principal"`
		Role      access.Role `json:"role"`
		Log       string      `json:"log"`
		Filter    string      `json:"filter"`
		Until     time.Time   `json:"until,omitzero"`
	}
	change, err := s.readChange(w, r, &n, `{"principal": "...", "role": "reader", "log": "default", "filter": "...", "until": "2027-01-31T00:00:00Z"}; `+
		"only principal, role and log are required")
	if err != nil {
		return err
	}
	if !n.Until.IsZero() && n.Until.Before(time.Now()) {
		return badRequest("until is in the past")
	}
	if !strings.HasSuffix(n.Log, "*") {
		if _, err := s.Engine.Log(n.Log); err != nil {
			return badRequest(fmt.Sprintf("log: there is no log %.80q", n.Log))
		}
	}
	g, err := s.Access.AddGrant(r.Context(), change, access.Grant{Principal: n.Principal, Role: n.Role, Log: n.Log, Filter: n.Filter, Until: n.Until})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/grants/"+g.ID)
	return reply(w, http.StatusCreated, g)
}

func (s *server) removeGrant(w http.ResponseWriter, r *http.Request) error {
	change, err := s.readChange(w, r, nil, "")
	if err == nil {
		err = s.Access.RemoveGrant(r.Context(), change, chi.URLParam(r, "id"))
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// showState serves who may do what, now or as the first entries of the system log, up to
// and with that of an index, made it.
func (s *server) showState(w http.ResponseWriter, r *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	type stateInfo struct {
		Size   uint64         `json:"size"` // entries of the log that the state is of
		Keys   []access.Key   `json:"keys"`
		Grants []access.Grant `json:"grants"`
	}
	describe := func(state *access.State) stateInfo {
		return stateInfo{state.Size(), state.Keys(), state.Grants()}
	}
	var info stateInfo
	if at := r.URL.Query().Get("at"); at != "" {
		index, err := parseNumber("at", at)
		if err != nil {
			return err
		}
		state, err := s.Access.At(r.Context(), index+1)
		if err != nil {
			return err
		}
		setState(w, state)
		info = describe(state)
	} else {
		s.Access.View(func(state *access.State) {
			setState(w, state)
			info = describe(state)
		})
	}
	return reply(w, http.StatusOK, info)
}

// setState gives a reply the state that it shows, for If-Match.
func setState(w http.ResponseWriter, state *access.State) {
	w.Header().Set("Etag", `"`+strconv.FormatUint(state.Size(), 10)+`"`)
	w.Header().Set("Cache-Control", "no-store")
}

// readChange reads the body of a request for a change into v, unless v is nil, and who
// wants it.
func (s *server) readChange(w http.ResponseWriter, r *http.Request, v any, example string) (access.Change, error) {
	change := access.Change{By: cmp.Or(callerOf(r).Name, access.LocalName)}
	if s.Access == nil {
		return change, errNoAccess
	}
	if tag := r.Header.Get("If-Match"); tag != "" {
		size, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
		if err != nil {
			return change, badRequest("If-Match must be the ETag of /state, /keys or /grants")
		}
		change.Seen = &size
	}
	if v == nil {
		return change, nil
	}
	return change, s.readJSON(w, r, v, example)
}
